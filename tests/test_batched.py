"""Samples with equal parts are decided for at once, as they would be one by one."""

from __future__ import annotations

import pytest
import torch
from contract.cases import FAMILIES
from contract.runs import build

from sparsevlm.core.interface import Selection
from sparsevlm.methods import METHODS
from sparsevlm.runtime import prefill

# Where the question says how many tokens stay, and what looks at the tower or chooses in a loop.
ONE_BY_ONE = (
    "dense", "sparsevlm-paper", "sparsevlm-v1.0", "sparsevlm-video", "divprune", "visionzip",
    "dart", "cdpruner", "cdpruner-words", "holov", "vispruner",
)  # fmt: skip
AT_ONCE = [
    name for name, method in METHODS.items()
    if name not in ONE_BY_ONE and method.budget == "shared"
]  # fmt: skip
LENGTHS = {"one length": (8,) * 5, "two lengths, padded": (9, 9, 6, 9, 9, 9)}


def pruned(
    monkeypatch,
    family,
    pruner,
    inputs,
    *,
    at_once,
    dtype=torch.float32,
    static=None,
    kernel="sdpa",
):
    """Logits, samples of the trace, and the sizes of what was decided for at once."""
    sizes, together = [], prefill.together

    def noted(samples):
        found = together(samples) if at_once else samples
        sizes.extend(len(one.numbers) for one in found)
        return found

    model = family.model(kernel) if dtype == torch.float32 else family.fresh().to(dtype)
    with monkeypatch.context() as patched:
        patched.setattr(prefill, "together", noted)
        with family.prune(model, pruner, inputs, static=static) as trace:
            logits = family.logits(model, inputs)
    return logits, trace.samples, sizes


def compare(one, other):
    """The same decisions; scores may be rounded in another way."""
    for sample, twin in zip(one, other, strict=True):
        assert sample.output_index == twin.output_index
        for stage, again in zip(sample.stages, twin.stages, strict=True):
            assert (stage.kept, stage.groups, stage.group_ids) == (
                again.kept, again.groups, again.group_ids
            )  # fmt: skip
            assert stage.raters == again.raters
            assert again.scores == pytest.approx(stage.scores, rel=1e-4)


def equals(family, dtype=torch.float32, seeds=4):
    """A batch of prompts with parts of equal sizes: the first rows of several batches."""
    rows = [family.row(family.inputs(seed=seed), 0) for seed in range(seeds)]
    batch = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
    return {name: one.to(dtype) if one.is_floating_point() else one for name, one in batch.items()}


@pytest.mark.parametrize("method", AT_ONCE)
@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "llama"])
def test_every_family_is_decided_for_at_once(monkeypatch, name, method):
    family = FAMILIES[name]
    pruner, inputs = build(family, method), equals(family)
    want, alone, _ = pruned(monkeypatch, family, pruner, inputs, at_once=False)
    logits, samples, sizes = pruned(monkeypatch, family, pruner, inputs, at_once=True)
    assert sizes == [4]
    compare(alone, samples)
    torch.testing.assert_close(logits, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@pytest.mark.parametrize("name", ["llava", "qwen2-vl"])
def test_half_precision_decides_the_same_at_once(monkeypatch, name, dtype):
    family = FAMILIES[name]
    inputs = equals(family, dtype)
    for method in ("sparsevlm", "sparsevlm-plus", "fastv", "pooled", "tome"):
        pruner = build(family, method)
        _, alone, _ = pruned(monkeypatch, family, pruner, inputs, at_once=False, dtype=dtype)
        _, samples, _ = pruned(monkeypatch, family, pruner, inputs, at_once=True, dtype=dtype)
        compare(alone, samples)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=list(LENGTHS))
@pytest.mark.parametrize("method", AT_ONCE)
def test_padding_and_other_questions_between(monkeypatch, method, lengths):
    family = FAMILIES["llava"]
    pruner = build(family, method)
    for seed in range(3):
        inputs = family.inputs(lengths, seed)
        want, alone, _ = pruned(monkeypatch, family, pruner, inputs, at_once=False)
        for static in (None, True):
            found = pruned(monkeypatch, family, pruner, inputs, at_once=True, static=static)
            logits, samples, sizes = found
            assert max(sizes) > 2 and sum(sizes) == len(lengths)
            compare(alone, samples)
            torch.testing.assert_close(logits, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [
    {"merge": "sum", "assignment": "cosine"}, {"raters": "at_least_mean"}, {"ties": "strict"},
    {"positions": "original"}, {"gravity": True, "heads": 2}, {"text": "whole_prompt"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_every_option_at_once(monkeypatch, kernel, options):
    family = FAMILIES["llava"]
    inputs, pruner = family.inputs((9, 9, 6, 9, 9, 9)), build(family, "sparsevlm", **options)
    for static in (None, True):
        how = {"static": static, "kernel": kernel}
        alone = pruned(monkeypatch, family, pruner, inputs, at_once=False, **how)[1]
        compare(alone, pruned(monkeypatch, family, pruner, inputs, at_once=True, **how)[1])


def test_what_depends_on_the_sample_is_decided_one_by_one(monkeypatch):
    family = FAMILIES["llava"]
    pruner = build(family, "sparsevlm-paper")
    sizes = pruned(monkeypatch, family, pruner, equals(family), at_once=True)[2]
    assert sizes == [], "nothing was put together"


def test_a_selection_for_several_samples_has_to_be_for_all_of_them():
    family = FAMILIES["llava"]
    inputs, model = equals(family), family.model()

    class OfOne(type(build(family, "uniform"))):
        def select(self, context):
            return Selection(torch.arange(self.keep_at(context.layer)))

    pruner = OfOne(build(family, "uniform").stages)
    with family.prune(model, pruner, inputs):
        with pytest.raises(ValueError, match="indices for each of 4 samples"):
            family.logits(model, inputs)
