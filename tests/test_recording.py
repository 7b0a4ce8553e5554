"""A pruner around a pruner that notes what it was shown, on a tiny random LLaVA."""

from __future__ import annotations

import pytest
import torch
from tiny import NUM_LAYERS, NUM_VISUAL, row, tiny_inputs

import sparsevlm as sv
from sparsevlm.evaluation.recording import RecordingPruner
from sparsevlm.methods.bases import PrunerWrapper


def make(name):
    return sv.make_pruner(name, tokens=64, num_layers=NUM_LAYERS, num_visual=NUM_VISUAL)


def ran(model, pruner, inputs):
    with torch.no_grad(), sv.prune(model, pruner) as trace:
        logits = model(**inputs).logits
    return logits, trace.samples


def test_a_wrapper_is_the_pruner_inside_unless_it_says_otherwise():
    class Wrapper(PrunerWrapper):
        def __init__(self, inner):
            self.inner = inner

    inner = make("pdrop")
    wrapper = Wrapper(inner)
    assert wrapper.to_json() == inner.to_json() and wrapper.prunes_after(0) == inner.prunes_after(0)
    assert wrapper.stages == inner.stages and wrapper.positions == inner.positions
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        wrapper.nothing  # noqa: B018 - the error is what is tested


@pytest.mark.parametrize("name", ["sparsevlm", "pdrop", "random"])
def test_stages_are_recorded_as_they_were_before_pruning(sdpa_model, name):
    inputs = row(tiny_inputs(), 1)
    pruner, plain = RecordingPruner(make(name), hidden=True), make(name)
    (logits, (trace,)), (expected, _) = (
        ran(sdpa_model, pruner, inputs),
        ran(sdpa_model, plain, inputs),
    )
    assert torch.equal(logits, expected)
    (found,) = pruner.samples
    assert [stage.layer for stage in found.stages] == [stage.layer for stage in trace.stages]
    ahead = int(plain.scored_layer == "next")
    num_text, counts = len(found.relevance), [NUM_VISUAL, *(s.num_left for s in trace.stages)]
    for stage, count, cut in zip(found.stages, counts, trace.stages, strict=False):
        assert stage.attention_layer == stage.layer + ahead
        assert stage.rows.shape[1:] == (num_text, count) and stage.hidden.shape[0] == count
        assert set(cut.kept) <= set(stage.source.tolist()) and len(stage.source) == count
    assert found.relevance.sum() == pytest.approx(1, abs=1e-5)


def test_layers_are_looked_at_where_nothing_is_pruned(sdpa_model):
    inputs = row(tiny_inputs(), 1)
    pruner = RecordingPruner(make("sparsevlm"), range(NUM_LAYERS - 1))
    logits, (trace,) = ran(sdpa_model, pruner, inputs)
    expected, (plain,) = ran(sdpa_model, make("sparsevlm"), inputs)
    assert torch.equal(logits, expected) and pruner.own_stages(trace) == plain
    (found,) = pruner.samples
    assert [stage.layer for stage in found.stages] == list(range(NUM_LAYERS - 1))
    assert all(stage.hidden is None for stage in found.stages)


def test_samples_of_a_batch_are_recorded_apart(sdpa_model):
    batch, pruner = tiny_inputs(), RecordingPruner(make("fastv"))
    ran(sdpa_model, pruner, batch)
    alone = RecordingPruner(make("fastv"))
    for index in range(len(batch["input_ids"])):
        ran(sdpa_model, alone, row(batch, index))
    assert len(pruner.samples) == len(alone.samples) > 1
    for found, expected in zip(pruner.samples, alone.samples, strict=True):
        assert found.relevance == pytest.approx(expected.relevance, abs=1e-6)
        for one, other in zip(found.stages, expected.stages, strict=True):
            assert one.rows == pytest.approx(other.rows, abs=1e-5)
