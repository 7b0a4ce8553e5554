"""All methods by name: SparseVLM, the baselines of the paper and the controls.

A method of your own is one file beside this one, with a dataclass derived from `StagedPruner` that
has ``name``, ``for_budget`` and ``select``, and one line in `METHODS`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from sparsevlm.core.interface import StagedPruner
from sparsevlm.core.schedule import as_int, plain
from sparsevlm.core.sparsevlm import Dense, SparseVLM
from sparsevlm.core.variants import VARIANTS, plus_heads
from sparsevlm.methods import ablations
from sparsevlm.methods.fastv import FastV
from sparsevlm.methods.newer.cdpruner import CDPruner
from sparsevlm.methods.newer.dart import DART
from sparsevlm.methods.newer.divprune import DivPrune
from sparsevlm.methods.newer.holov import HoloV
from sparsevlm.methods.newer.visionzip import VisionZip
from sparsevlm.methods.newer.vispruner import VisPruner
from sparsevlm.methods.per_tile import PerTile
from sparsevlm.methods.pooled import Pooled
from sparsevlm.methods.pyramiddrop import PyramidDrop
from sparsevlm.methods.random import Random
from sparsevlm.methods.tome import ToMe
from sparsevlm.methods.uniform import Uniform

BUDGETS = ("shared", "per_tile")


@dataclass(frozen=True)
class Method:
    """A method as tables and figures know it.

    Attributes
    ----------
    name
        For commands and records.
    label
        For readers.
    kind
        Its class.
    builder
        ``builder(tokens, num_layers, num_visual, **options)`` returns a pruner. ``None``: the
        class method ``for_budget`` of ``kind``, with the other options as fields.
    meets_budget
        Whether the tokens left follow the budget, and not the question.
    budget
        Of `BUDGETS`; see `make_pruner`.
    """

    name: str
    label: str
    kind: type[StagedPruner]
    builder: Callable[..., StagedPruner] | None = None
    meets_budget: bool = True
    budget: str = "shared"

    def build(
        self, tokens: int | None, num_layers: int, num_visual: int, **options: Any
    ) -> StagedPruner:
        """The method at a budget; see `make_pruner`."""
        if self.budget == "per_tile":
            shared = replace(self, budget="shared")
            found: Any = PerTile(shared.build(tokens, num_layers, num_visual, **options))
            return found
        if self.builder is not None:
            return self.builder(tokens, num_layers, num_visual, **options)
        layers = {"layers": options.pop("layers")} if "layers" in options else {}
        return replace(self.kind.for_budget(tokens, num_layers, num_visual, **layers), **options)

    @property
    def options(self) -> set[str]:
        """What `build` takes beside the budget: fields, and ``layers`` where they can be chosen."""
        known = {field.name for field in fields(self.kind)} - {"stages"}
        build = inspect.signature(self.builder or self.kind.for_budget)
        takes_layers = any(
            parameter.name == "layers" or parameter.kind is parameter.VAR_KEYWORD
            for parameter in build.parameters.values()
        )
        return known | {"layers"} if takes_layers else known


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("dense", "Dense", Dense),
        Method("sparsevlm", "SparseVLM", SparseVLM, VARIANTS["v1.5"]),
        Method("sparsevlm-all-text", "SparseVLM, all text", SparseVLM, ablations.all_text),
        Method("sparsevlm-all-tokens", "SparseVLM, all tokens", SparseVLM, ablations.all_tokens),
        Method("sparsevlm-no-recycling", "SparseVLM, no recycling", SparseVLM,
               ablations.no_recycling),
        Method("sparsevlm-not-refilled", "SparseVLM, no recycling, not refilled", SparseVLM,
               ablations.not_refilled, meets_budget=False),
        Method("sparsevlm-kept-positions", "SparseVLM, positions kept", SparseVLM,
               ablations.kept_positions),
        Method("sparsevlm-paper", "SparseVLM (paper)", SparseVLM, VARIANTS["paper"]),
        Method("sparsevlm-v1.0", "SparseVLM (v1.0)", SparseVLM, VARIANTS["v1.0"],
               meets_budget=False),
        Method("sparsevlm-video", "SparseVLM (video)", SparseVLM, VARIANTS["video"],
               meets_budget=False),
        Method("sparsevlm-plus", "SparseVLM+", SparseVLM, VARIANTS["plus"]),
        Method("fastv", "FastV", FastV),
        Method("pdrop", "PDrop", PyramidDrop),
        Method("tome", "ToMe", ToMe),
        Method("divprune", "DivPrune", DivPrune),
        Method("visionzip", "VisionZip", VisionZip),
        Method("dart", "DART", DART),
        Method("cdpruner", "CDPruner", CDPruner),
        Method("cdpruner-words", "CDPruner, words for CLIP", CDPruner, CDPruner.with_words),
        Method("holov", "HoloV", HoloV),
        Method("vispruner", "VisPruner", VisPruner),
        Method("random", "Random", Random),
        Method("uniform", "Uniform grid", Uniform),
        Method("pooled", "Pooled grid", Pooled),
    )
}  # fmt: skip
# For tables and figures that compare both ways; `make_pruner` takes any method with counts.
METHODS |= {
    f"{name}-per-tile": replace(
        METHODS[name], name=f"{name}-per-tile", label=f"{METHODS[name].label}, per tile",
        budget="per_tile",
    )
    for name in ("sparsevlm", "fastv", "pdrop", "tome", "random")
}  # fmt: skip


def make_pruner(
    name: str, *, tokens: int | None, num_layers: int, num_visual: int, budget: str = "",
    **overrides: Any,
) -> StagedPruner:  # fmt: skip
    """Build a method at a budget.

    Parameters
    ----------
    name
        A key of `METHODS`.
    tokens
        The budget: mean over the layers of the visual tokens left. ``None`` for ``"dense"``, and
        for the variants whose counts follow the question where other settings are given.
    num_layers, num_visual
        Decoder layers of the model and visual tokens of an image.
    budget
        For pictures in tiles (LLaVA-NeXT). ``"shared"``: all tokens of a picture compete.
        ``"per_tile"``: the whole picture and each tile have their shares of the budget, and are
        pruned each for itself; see `sparsevlm.methods.per_tile`. Default: as the name says, shared
        but for those in "-per-tile".
    **overrides
        Fields of the method's dataclass, e.g. ``raters="all_text"`` or ``seed=1``; for SparseVLM,
        FastV, Random and Uniform also ``layers``, to prune after other ones.

    Returns
    -------
    StagedPruner
        Meets the budget within one token, where the method's ``meets_budget`` says so.

    Raises
    ------
    ValueError
        For an unknown method or option, and for an impossible budget.
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    if budget and budget not in BUDGETS:
        raise ValueError(f"budget must be one of {', '.join(BUDGETS)}; got {budget!r}")
    method = METHODS[name]
    method = replace(method, budget=budget or method.budget)
    tokens, num_layers = plain(tokens), as_int("num_layers", num_layers, 1)
    num_visual = as_int("num_visual", num_visual, 1)
    unknown = sorted(set(overrides) - method.options)
    if unknown:
        options = ", ".join(sorted(method.options)) or "none"
        raise ValueError(f"{name} has no option {', '.join(unknown)}; its options: {options}")
    return method.build(tokens, num_layers, num_visual, **overrides)


def options_for(name: str, num_heads: int, has_mrope: bool) -> dict[str, object]:
    """Options of a method that the model decides, for `make_pruner`.

    Parameters
    ----------
    name
        A key of `METHODS`.
    num_heads
        Attention heads of the decoder: SparseVLM+ averages at most half of few.
    has_mrope
        Whether positions have a row and a column (Qwen2-VL). Then no method renumbers: no release
        says how, and without them a token's place in the image would be lost.
    """
    options: dict[str, object] = {}
    if name == "sparsevlm-plus":
        options["heads"] = plus_heads(num_heads)
    if has_mrope and name in METHODS and "positions" in METHODS[name].options:
        options["positions"] = "original"
    return options
