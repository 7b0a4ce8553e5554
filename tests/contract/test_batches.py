"""A sample in a batch is the sample alone, and a cache changes nothing."""

from __future__ import annotations

import torch

from .runs import build, runs


def decisions(sample):
    """What was decided, without the scores, which rounding touches."""
    stages = [(stage.kept, stage.groups, stage.group_ids, stage.raters) for stage in sample.stages]
    return stages, sample.tokens_in, sample.tokens_out


@runs()
def test_a_sample_alone_is_that_in_a_batch(run):
    """Beside other questions, with padding or without, beside other pictures: the same survivors
    and the same answer. The first row has the most padding, unless pictures differ.
    """
    whole, answers = run.first[0], run.tokens
    for index in range(3):
        together = [sample for sample in run.samples if sample.sample == index]
        inputs = run.family.row(run.inputs, index)
        with run.pruning(inputs=inputs) as trace:
            if index == 1:
                logits = run.family.logits(run.model, inputs)[0, -1]
            else:
                tokens, logits = run.family.answer(run.model, inputs)
                assert torch.equal(tokens[0], answers[index])
        assert list(map(decisions, trace.samples)) == list(map(decisions, together))
        assert (logits - whole[index, -1]).abs().max() < 2e-4


# Without a cache every step rates anew, and then what was generated is among "all tokens".
@runs(without=("sparsevlm-all-tokens",))
def test_cache_equals_recomputation(run):
    assert torch.equal(run.pruned_tokens(use_cache=False), run.tokens)


@runs(only=("sparsevlm-paper",))
def test_every_sample_may_keep_another_number(run):
    """All text rates, so the rank and the number kept follow the length of the question."""
    pruner = build(run.family, run.method, raters="all_text", lam=0.97)
    with run.pruning(pruner) as trace:
        together = run.family.generate(run.model, run.inputs)
        counts = {tuple(stage.num_left for stage in sample.stages) for sample in trace.samples}
        recomputed = run.family.generate(run.model, run.inputs, use_cache=False)
    assert torch.equal(together, recomputed)
    assert len(counts) >= 3
    for index in range(3):
        inputs = run.family.row(run.inputs, index)
        with run.pruning(pruner, inputs):
            assert torch.equal(run.family.generate(run.model, inputs)[0], together[index])
