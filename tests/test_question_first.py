"""A question that stands before the image: who rates, what is said of it, and the way out."""

from __future__ import annotations

import pytest
import torch
from contract.cases import FAMILIES
from contract.runs import build

import sparsevlm as sv
from sparsevlm.runtime.attention import QueriesKeys

QUESTION_FIRST = [1, *range(20, 32), *[4] * 144, 40, 41, 42]  # 40 to 42 stand for a template


def asked_before(text, kernel="sdpa", padding=0, method="sparsevlm", **how):
    """Trace of a prompt whose question is before its image, and its answer."""
    family = FAMILIES["llava"]
    model = family.model(kernel)
    row = torch.tensor([[0] * padding + QUESTION_FIRST])
    inputs = {
        **family.row(family.inputs(), 2),
        "input_ids": row,
        "attention_mask": (row > 0).long(),
    }
    options = {"tokens": 36, "num_layers": 8, "num_visual": 144}
    options |= {} if text is None else {"text": text}
    with sv.prune(model, sv.make_pruner(method, **options)) as trace:
        answer = family.generate(model, inputs, **how)
    return trace.samples[0], answer


def test_a_question_before_the_image_rates_nothing_and_says_so():
    with pytest.warns(
        UserWarning, match=r"only 3 text tokens follow.*token ids \[4[0-2].*whole_pr"
    ):
        sample, _ = asked_before("after_image", padding=5)
    assert max(sample.stages[0].raters) < 3


@pytest.mark.parametrize("method", ["fastv", "pdrop"])
def test_methods_of_the_last_token_have_no_such_choice(method, recwarn):
    asked_before(None, method=method)
    assert not [one for one in recwarn if "text tokens follow" in str(one.message)]


def test_a_question_after_the_image_warns_of_nothing(recwarn):
    family = FAMILIES["llava"]
    with family.prune(family.model(), build(family, "sparsevlm"), family.inputs()):
        family.logits(family.model(), family.inputs())
    assert not [str(one.message) for one in recwarn if "text tokens follow" in str(one.message)]


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_words_before_the_image_may_rate(kernel, recwarn):
    sample, answer = asked_before("whole_prompt", kernel)
    assert not [one for one in recwarn if "text tokens follow" in str(one.message)]
    raters = sample.stages[0].raters
    assert min(raters) < 13 and max(raters) < 16
    for how in ({"padding": 7}, {"use_cache": False}, {"num_beams": 2, "num_return_sequences": 1}):
        again, found = asked_before("whole_prompt", kernel, **how)
        if "num_beams" not in how:
            assert torch.equal(found, answer)
        for stage, other in zip(sample.stages, again.stages, strict=True):
            assert (stage.kept, stage.raters) == (other.kept, other.raters)
            assert stage.scores == pytest.approx(other.scores, rel=1e-4)


@pytest.mark.parametrize("mask", [None, "bool", "additive"])
def test_a_word_before_the_image_sees_all_of_the_prompt(mask):
    """Written out: softmax over the prompt; behind the image causal, as ever."""
    before, visual, after, answer, heads = 4, 6, 3, 2, 2
    tokens = before + visual + after + answer
    query, key = torch.randn(2, 1, heads, tokens, 8, generator=torch.Generator().manual_seed(0))
    seen = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    additive = torch.zeros(1, 1, tokens, tokens).masked_fill(~seen, -torch.inf)
    given = {None: None, "bool": seen[None, None], "additive": additive}[mask]
    found = QueriesKeys(query, key, 0.5, given)
    raters = torch.tensor([0, 3, 4 + visual, 6 + visual]) - before - visual
    rows = found.rows(0, 0, slice(before, before + visual), raters, {}, before + visual + after)
    for number, place in enumerate([0, 3, 4 + visual, 6 + visual]):
        end = before + visual + after if place < before else place + 1
        logits = (query[0, :, place, None] * key[0, :, :end]).sum(-1) * 0.5
        want = logits.softmax(-1)[:, before : before + visual]
        torch.testing.assert_close(rows[:, number], want)
