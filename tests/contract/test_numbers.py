"""Keeping everything is the dense model bit by bit; dropping is masking; runs repeat."""

from __future__ import annotations

import torch

from .cases import NUM_LAYERS
from .runs import (
    MERGING,
    RENUMBERED,
    REORDERED,
    TOWER,
    build,
    build_keep_all,
    build_unmerged,
    columns_of,
    runs,
    visible_rows,
)

# These keep rank * scale + bias tokens, at most all but one while the rank is not full, and the
# rank is at most the number of raters: there is no setting in which they keep everything.
NEVER_ALL = ("sparsevlm-v1.0", "sparsevlm-video")
# The counts of this one are those of v1.5, which drops a token at every stage.
NEVER_ALL += ("sparsevlm-not-refilled",)
# Every token then is the mean of itself, which `test_baselines` compares; there are no kept ones.
NEVER_KEPT = ("pooled",)


@runs(without=(*NEVER_ALL, *NEVER_KEPT))
def test_keeping_everything_is_bitwise_dense(run):
    logits, tokens = run.dense
    pruner = build_keep_all(run.family, run.method)
    with run.pruning(pruner) as trace:
        assert torch.equal(run.family.logits(run.model, run.inputs), logits)
        samples = trace.samples
        assert torch.equal(run.family.generate(run.model, run.inputs), tokens)
    for sample, count in zip(samples, run.family.counts, strict=True):
        assert sample.tokens_in == sample.tokens_out == [count] * NUM_LAYERS
        assert [stage.kept for stage in sample.stages] == [list(range(count))] * len(pruner.stages)
        # DART asks for keys, and scores nothing.
        scored = count if pruner.needs_attention and run.method != "dart" else 0
        assert [len(stage.scores) for stage in sample.stages] == [scored] * len(pruner.stages)


def masked_reference(run, samples):
    """Full length, no pruning: from each stage on, the keys of dropped tokens are masked."""
    real = run.inputs["attention_mask"].bool()
    batch, length = real.shape
    visible = torch.ones(length, length).tril().bool() & real[:, None, :]
    handles = []
    for number, layer in enumerate(run.model.get_decoder().layers):
        for sample, columns in columns_of(run, samples):
            for stage in (stage for stage in sample.stages if stage.layer == number - 1):
                gone = sorted(set(range(sample.num_visual)) - set(stage.kept))
                visible = visible.clone()
                visible[sample.sample][:, columns[gone]] = False
        # A row that sees nothing would be NaN; nobody looks at such a row.
        seen = visible | torch.eye(length, dtype=torch.bool)
        mask = torch.zeros(batch, 1, length, length).masked_fill(~seen[:, None], -torch.inf)
        handles.append(layer.register_forward_pre_hook(_with_mask(mask), with_kwargs=True))
    try:
        return run.family.logits(run.model, run.inputs)
    finally:
        for handle in handles:
            handle.remove()


def _with_mask(mask):
    return lambda module, args, kwargs: (args, {**kwargs, "attention_mask": mask})


@runs(without=(*MERGING, *REORDERED, RENUMBERED))
def test_dropping_equals_masking(run):
    """Merging and renumbering are off here; they have no counterpart in a mask."""
    pruned, samples = run.prefill(build_unmerged(run.family, run.method))
    reference = masked_reference(run, samples)
    for number, found, index in visible_rows(run, pruned, samples):
        if run.method != "dense":
            assert len(index) < int(run.inputs["attention_mask"][number].sum())
            assert (found[-1] - run.dense[0][number, -1]).abs().max() > 0.01, "pruning must matter"
        assert (found - reference[number, index]).abs().max() < 2e-4


@runs()
def test_a_second_run_is_the_same(run):
    logits, samples = run.prefill()
    assert torch.equal(logits, run.first[0])
    assert samples == run.samples
    assert all(found.isfinite().all() for _, found, _ in visible_rows(run, logits, samples))


@runs(without=("dense",))
def test_the_question_changes_what_survives(run):
    """But for the methods that do not look at it."""
    inputs = run.inputs
    ids = inputs["input_ids"].clone()
    ids[:, -5:] = torch.tensor([90, 91, 92, 93, 94])
    _, samples = run.prefill(inputs={**inputs, "input_ids": ids})
    same = [
        [(stage.kept, stage.groups) for stage in one.stages]
        == [(stage.kept, stage.groups) for stage in two.stages]
        for one, two in zip(run.samples, samples, strict=True)
        if one.image == run.family.per_sample[one.sample] - 1  # rated by these words alone
    ]
    blind = (*MERGING, *TOWER, "divprune", "uniform")
    assert same == [run.method in blind] * 3


@runs(only=("random",))
def test_another_seed_draws_others(run):
    _, samples = run.prefill(build(run.family, run.method, seed=1))
    for one, two in zip(run.samples, samples, strict=True):
        assert [stage.kept for stage in one.stages] != [stage.kept for stage in two.stages]
        assert one.tokens_out == two.tokens_out
