"""One combination of family, method and kernel; its forwards run once and tests share them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import pytest
import torch
from torch import Tensor

import sparsevlm as sv
from sparsevlm.methods import options_for
from sparsevlm.runtime.trace import SampleTrace

from .cases import FAMILIES, KERNELS, NUM_LAYERS, Family
from .several import SEVERAL

NUM_HEADS = 4
BUDGETS = {"dense": None, "sparsevlm-video": None, "sparsevlm-v1.0": 64}
RENUMBERED = "sparsevlm:renumbered"
# All tokens are merged before layer 0, each into the place of one of them.
MERGING = ("tome", "pooled", "tome-per-tile")
# These look into a CLIP vision tower; the last one is not built without a CLIP of its own, and the
# contract runs its substitute.
TOWER = ("visionzip", "holov", "vispruner", "cdpruner")
# These hand the tokens over in an order of their own, and may make some of no token: a CLS token,
# zero vectors.
REORDERED = ("visionzip", "holov")
# One that looks at the layer just run, one at the layer to come, one at no attention, one into the
# vision tower: the runtime knows no other difference between methods but that of positions, kept or
# renumbered.
KINDS = ("sparsevlm", "pdrop", "tome", "vispruner")
# So these meet the eager kernel; what else a method does, it does to tensors that a kernel left.
EAGER = ("dense", *KINDS, "sparsevlm-plus")
# And these several images in a prompt: LLaVA all of them, Qwen2.5-VL the first three, others two.
# Some decide for a batch at once, some do not; some keep positions.
WITH_SEVERAL = ("sparsevlm", "pdrop", "sparsevlm-plus", "tome", "vispruner", "sparsevlm-paper",
                "dart", "random", "visionzip", "holov", "divprune", "cdpruner-words")  # fmt: skip
MOST = {"llava-several": len(WITH_SEVERAL), "qwen2.5-vl-several": 3}
PER_TILE = "-per-tile"


def build(family: Family, method: str, tokens: int | None = 30, num_visual=None, **options):
    """A method at a budget that every row can be pruned to; positions are kept with M-RoPE."""
    name, _, renumbered = method.partition(":")
    options = {**options_for(name, NUM_HEADS, family.has_mrope), **options}
    if renumbered:
        options["positions"] = renumbered
    return sv.make_pruner(
        name, tokens=BUDGETS.get(name, tokens), num_layers=NUM_LAYERS,
        num_visual=num_visual or family.num_visual, **options,
    )  # fmt: skip


def build_unmerged(family: Family, method: str):
    """The same without recycling and with original positions, so that masking can imitate it."""
    options = {}
    if method.startswith("sparsevlm"):
        options = {"recycle": 0, "positions": "original"}
    elif method.removesuffix(PER_TILE) in ("pdrop", "divprune", "cdpruner-words", "vispruner"):
        options = {"positions": "original"}
    if method == "sparsevlm-v1.0":
        # At its released scale some stages keep recycled tokens only.
        options |= {"scale": 2.0}
    return build(family, method, **options)


def build_keep_all(family: Family, method: str):
    """A pruner that looks at every stage and drops nothing."""
    most = max(family.counts)
    options = {}
    if method.startswith("sparsevlm"):
        options = {"always_drop": False, "recycle": 0}
    if method == "sparsevlm-paper":
        options["lam"] = 1e-9
    return build(family, method, most, most, **options)


@dataclass(frozen=True)
class Run:
    """A combination. Everything that takes a forward is computed when first asked for."""

    family: Family
    method: str
    kernel: str

    def __str__(self) -> str:
        return f"{self.family.name}-{self.method}-{self.kernel}"

    @property
    def model(self):
        """Shared by all runs of the family."""
        return self.family.model(self.kernel)

    @property
    def inputs(self) -> dict[str, Tensor]:
        """A batch of three."""
        return self.family.inputs()

    @property
    def pruner(self) -> sv.Pruner:
        """The method at its budget."""
        return build(self.family, self.method)

    def pruning(self, pruner: sv.Pruner | None = None, inputs=None):
        """The context manager."""
        inputs = self.inputs if inputs is None else inputs
        return self.family.prune(self.model, pruner or self.pruner, inputs)

    def traced(self, pruner=None, inputs=None) -> tuple[Tensor, sv.Trace]:
        """Logits and trace of one pruned forward."""
        inputs = self.inputs if inputs is None else inputs
        with self.pruning(pruner, inputs) as trace:
            logits = self.family.logits(self.model, inputs)
        return logits, trace

    def prefill(self, pruner=None, inputs=None) -> tuple[Tensor, list[SampleTrace]]:
        """Logits and samples of one pruned forward."""
        logits, trace = self.traced(pruner, inputs)
        return logits, trace.samples

    def pruned_tokens(self, inputs=None, **options) -> Tensor:
        """Tokens generated under pruning."""
        inputs = self.inputs if inputs is None else inputs
        with self.pruning(inputs=inputs):
            return self.family.generate(self.model, inputs, **options)

    @property
    def dense(self) -> tuple[Tensor, Tensor]:
        """Logits and greedy tokens of the model as it is."""
        return _dense(self.family.name, self.kernel)

    @cached_property
    def first(self) -> tuple[Tensor, sv.Trace]:
        """Logits and trace of the batch."""
        return self.traced()

    @cached_property
    def tokens(self) -> Tensor:
        """Greedy tokens of the batch."""
        return self.pruned_tokens()

    @property
    def samples(self) -> list[SampleTrace]:
        """Of the batch."""
        return self.first[1].samples


@cache
def _dense(name: str, kernel: str) -> tuple[Tensor, Tensor]:
    family = {**FAMILIES, **SEVERAL}[name]
    inputs, model = family.inputs(), family.model(kernel)
    return family.logits(model, inputs), family.generate(model, inputs)


def fits(family: Family, method: str) -> bool:
    """Whether the family has what the method looks at; `test_refusals` has the others."""
    if PER_TILE in method and not family.has_tiles:
        return False
    return method != "cdpruner" and (family.has_tower or method not in TOWER)


def methods_of(family: Family) -> list[str]:
    """Every method that fits, and with M-RoPE also positions as of plain text."""
    fitting = [method for method in sv.METHODS if fits(family, method)]
    if family.name == "llava-onevision":  # as LLaVA-NeXT, which runs all
        fitting = [method for method in fitting if method in (*EAGER, "random", f"fastv{PER_TILE}")]
    return [*fitting, *([RENUMBERED] if family.has_mrope else [])]


RUNS = [
    Run(family, method, kernel)
    for family in FAMILIES.values()
    for kernel in KERNELS
    for method in methods_of(family)
    if kernel == "sdpa" or method in EAGER
]
RUNS += [
    Run(family, method, "sdpa")
    for family in SEVERAL.values()
    for method in (*WITH_SEVERAL[: MOST.get(family.name, 2)], f"sparsevlm{PER_TILE}")
    if fits(family, method)
]


def runs(*, without: tuple[str, ...] = (), only: tuple[str, ...] = ()):
    """Parametrise a test over the combinations, but for some methods or with some only."""
    chosen = [
        run for run in RUNS
        if run.method not in without and (not only or run.method in only)
    ]  # fmt: skip
    return pytest.mark.parametrize("run", chosen, ids=str)


def visible_rows(run: Run, logits: Tensor, samples: list[SampleTrace]):
    """For every sample its number, its rows of the output and what these are in the input."""
    for sample in samples:
        index = torch.tensor(sample.output_index)
        if sample.image == 0:
            yield sample.sample, logits[sample.sample, -len(index) :], index


def columns_of(run: Run, samples: list[SampleTrace]):
    """For every picture of the batch its trace, and where its visual tokens are in the row."""
    visual = run.family.visual(run.inputs)
    places = [row.nonzero().flatten() for row in visual]
    for sample in samples:
        columns, places[sample.sample] = places[sample.sample].tensor_split([sample.num_visual])
        yield sample, columns
