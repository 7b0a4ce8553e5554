"""Samples with equal parts are decided for at once, as they would be one by one."""

from __future__ import annotations

import pytest
import torch
from contract.cases import FAMILIES
from contract.runs import build

from sparsevlm.methods import METHODS
from sparsevlm.runtime import layout

# Where the question, or the picture, says how many tokens stay or merge.
ONE_BY_ONE = ("dense", "sparsevlm-paper", "sparsevlm-v1.0", "sparsevlm-video", "tome")
AT_ONCE = [name for name in METHODS if name not in ONE_BY_ONE]
LENGTHS = {"one length": (8,) * 5, "two lengths, padded": (9, 9, 6, 9, 9, 9)}


def pruned(monkeypatch, family, pruner, inputs, *, at_once, dtype=torch.float32, static=None):
    """Logits, samples of the trace, and the sizes of what was decided for at once."""
    sizes, together = [], layout.together

    def noted(samples, grids):
        found = together(samples, grids) if at_once else samples
        sizes.extend(len(one.numbers) for one in found)
        return found

    monkeypatch.setattr(layout, "together", noted)
    model = family.model() if dtype == torch.float32 else family.fresh().to(dtype)
    with family.prune(model, pruner, inputs, static=static) as trace:
        logits = family.logits(model, inputs)
    monkeypatch.undo()
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


def same_lengths(family, lengths, seed=0):
    """Inputs of a family with questions of these lengths."""
    if family.name in ("llava", "llama", "mini-gemini"):
        return family.inputs(lengths, seed)
    return None


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=list(LENGTHS))
@pytest.mark.parametrize("method", AT_ONCE)
@pytest.mark.parametrize("name", ["llava", "llama"])
def test_at_once_is_one_by_one(monkeypatch, name, method, lengths):
    family = FAMILIES[name]
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
