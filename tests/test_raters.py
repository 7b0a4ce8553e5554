from __future__ import annotations

import pytest
import torch
from golden_data import arrays, cases

from sparsevlm.core.raters import RATER_RULES, select_raters, text_relevance

GOLDEN = [case for case in cases("functions") if case.startswith("raters/")]


@pytest.mark.parametrize("case", GOLDEN)
def test_official_raters(case):
    gold = arrays("functions", case)
    torch.testing.assert_close(text_relevance(gold["visual"], gold["text"]), gold["m"])
    assert torch.equal(select_raters(gold["visual"], gold["text"]), gold["raters"])


def test_rules_differ_only_at_the_mean():
    # One visual token along the first axis: relevance is the softmax of the first coordinates.
    visual = torch.tensor([[1.0, 0.0]])
    text = torch.tensor([[1.0, 0.0], [1.0, 5.0]])
    # Both are exactly at the mean: nobody is above it, so the official rule chooses all as well.
    for rule in RATER_RULES:
        assert select_raters(visual, text, rule).tolist() == [0, 1]
    uneven = torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    assert select_raters(visual, uneven, "above_mean").tolist() == [0]
    assert select_raters(visual, uneven, "all_text").tolist() == [0, 1, 2]


def test_a_token_at_the_mean_rates_by_the_paper_only():
    visual = torch.tensor([[1.0]])
    text = torch.tensor([[4.0], [2.0], [1.0], [1.0]]).log()  # relevance 1/2, 1/4, 1/8, 1/8
    assert text_relevance(visual, text).tolist() == [0.5, 0.25, 0.125, 0.125]
    assert select_raters(visual, text, "above_mean").tolist() == [0]
    assert select_raters(visual, text, "at_least_mean").tolist() == [0, 1]


def test_at_least_mean_includes_the_mean():
    visual = torch.zeros(1, 2)
    text = torch.zeros(4, 2)
    assert select_raters(visual, text, "at_least_mean").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("rule", RATER_RULES)
def test_one_text_token_rates(rule):
    # Deviation: the official code has no rater here and scores NaN.
    assert select_raters(torch.randn(9, 4), torch.randn(1, 4), rule).tolist() == [0]


def test_bad_input():
    with pytest.raises(ValueError, match="above_mean, at_least_mean, all_text"):
        select_raters(torch.randn(9, 4), torch.randn(3, 4), "loudest")
    with pytest.raises(ValueError, match="question after the image"):
        select_raters(torch.randn(9, 4), torch.randn(0, 4))
