"""Figure 5: scores by who rates, the raters' paired lead, the paper's bars."""

from __future__ import annotations

import numpy as np
import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import study
from sparsevlm.paper.figures import figure_5

# Raters are better than all tokens, and worse than all text.
SKILL = {"dense": 0.95, "sparsevlm": 0.7, "sparsevlm-all-text": 0.9, "sparsevlm-all-tokens": 0.4}


@pytest.fixture(scope="module")
def results():
    profile = narrowed("figure_5", 40)
    return study.from_records(profile, fabricate(profile, SKILL), SHAPE)


def test_the_lead_of_the_raters_is_paired_and_per_benchmark(results):
    for name in ("textvqa", "pope"):
        lead = figure_5.lead(results, name, "sparsevlm-all-tokens")
        ends = [
            results.value("score", (m, 64), name) for m in ("sparsevlm", "sparsevlm-all-tokens")
        ]
        assert lead.value == pytest.approx(ends[0] - ends[1]) and lead.low > 0
        assert figure_5.lead(results, name, "sparsevlm-all-text").high < 0


def test_the_published_bars_are_the_papers():
    assert [figure_5.published_score(m, "textvqa", 64) for m in figure_5.NAMES] == [
        52.6,
        53.0,
        53.4,
    ]
    assert [figure_5.published_score(m, "pope", 64) for m in figure_5.NAMES] == [66.1, 74.8, 77.5]


def test_the_table_has_dense_and_every_rater_by_benchmark(results):
    table = figure_5.readable(results)
    assert list(table.index)[:4] == [
        ("TextVQA", "dense, nothing pruned"), ("TextVQA", "all tokens"),
        ("TextVQA", "all text"), ("TextVQA", "raters"),
    ]  # fmt: skip
    assert table.loc[("POPE", "raters")].tolist()[1:] == ["–", "77.5"]
    assert table.loc[("POPE", "all text"), "raters ahead by"].startswith("-")
    assert "mini-llava-32 (miniature model, not LLaVA-1.5)" in figure_5.page(results)[0].heading


def test_the_comparison_follows_the_numbers(results):
    table = figure_5.compared(results).table
    assert table.shape == (2 * 2, 2)
    assert table.loc[("raters", "all tokens, in the paper"), "TextVQA"] == "+0.8"
    assert table.loc[("raters", "all tokens"), "TextVQA"].startswith("agrees +")
    assert table.loc[("raters", "all text, in the paper"), "POPE"] == "+2.7"
    assert table.loc[("raters", "all text"), "POPE"].startswith("contradicts -")


def test_the_data_has_a_row_per_bar(results):
    data = figure_5.numbers(results)
    assert len(data) == 6 and data["raters ahead by"].isna().sum() == 2
    assert data["score low"].le(data["score"]).all()
    assert data["tokens out"].eq(64).all()


def test_the_bars_are_the_scores(results):
    here, paper = figure_5.figure(results).axes
    assert here.get_title().endswith("not LLaVA-1.5") and "published" in paper.get_title()
    bars = {c.get_label(): c for c in paper.containers}
    np.testing.assert_allclose([bar.get_height() for bar in bars["raters"]], [53.4, 77.5])
    measured = {c.get_label(): c for c in here.containers if c.get_label() in bars}
    heights = [bar.get_height() for bar in measured["all text"]]
    expected = [results.value("score", ("sparsevlm-all-text", 64), n) for n in ("textvqa", "pope")]
    np.testing.assert_allclose(heights, expected)
    assert measured["all text"].errorbar is not None and bars["all text"].errorbar is None
    assert here.get_ylim() == paper.get_ylim()
