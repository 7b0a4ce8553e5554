"""Table 4: gains of reconstruction in both readings, the paper's beside, views and files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import published, study
from sparsevlm.analysis.style import TABLE_FORMATS
from sparsevlm.paper.tables import table_4

REFILLED, NOT_REFILLED = table_4.READINGS
# Reconstruction gains over the refilled budget at 64 tokens only, and over the other everywhere.
SKILL = {"dense": 0.95, "sparsevlm": 0.8, NOT_REFILLED: 0.5}
SKILL |= {(REFILLED, 64): 0.6, (REFILLED, 96): 0.8, (REFILLED, 128): 0.8, (REFILLED, 192): 0.8}
LEFT = {(NOT_REFILLED, tokens): tokens - 4 for tokens in (64, 96, 128, 192)}


@pytest.fixture(scope="module")
def results():
    profile = narrowed("table_4")
    return study.from_records(profile, fabricate(profile, SKILL, LEFT), SHAPE)


def test_a_gain_is_the_paired_difference_of_scores(results):
    for name in ("gqa", "pope"):
        with_it, without = (results.value("score", (m, 64), name) for m in ("sparsevlm", REFILLED))
        found = table_4.gain(results, REFILLED, name, [64])
        assert found.value == pytest.approx(with_it - without)
        same = table_4.gain(results, REFILLED, name, [192])
        assert (same.value, same.low, same.high) == (0, 0, 0)
        assert table_4.gain(results, NOT_REFILLED, name, [192]).low > 0


def test_the_mean_gain_is_that_of_the_mean_scores(results):
    budgets = table_4.budgets(results)
    single = [table_4.gain(results, REFILLED, "pope", [t]) for t in budgets]
    mean = table_4.gain(results, REFILLED, "pope", budgets)
    assert mean.value == pytest.approx(np.mean([g.value for g in single]))
    paper = [table_4.published_gain("pope", [t]) for t in budgets]
    assert table_4.published_gain("pope", budgets) == pytest.approx(np.mean(paper))
    assert 0 < mean.high - mean.low < max(g.high - g.low for g in single)


def test_the_growth_is_from_the_most_tokens_to_the_fewest(results):
    grown = table_4.growth(results, REFILLED, "gqa")
    assert grown.value == pytest.approx(table_4.gain(results, REFILLED, "gqa", [64]).value)
    level = table_4.growth(results, NOT_REFILLED, "gqa")
    assert (level.value, level.low, level.high) == (0, 0, 0)


def test_the_papers_gain_is_that_of_its_rows(results):
    rows = [f"SparseVLM {kind} token reconstruction" for kind in ("with", "without")]
    paper = [published.value("table4", row, 64, "POPE") for row in rows]
    gain = table_4.published_gain("pope", [64])
    assert gain == pytest.approx(paper[0] - paper[1]) == pytest.approx(4.7)
    data = table_4.numbers(results)
    at_64 = data[(data["benchmark"] == "POPE") & (data["tokens"] == 64)]
    assert at_64["published gain"].dropna().tolist() == pytest.approx([4.7, 4.7]), "both readings"


def test_the_table_has_the_papers_layout_and_both_readings(results):
    ours = table_4.readable(results)
    paper = table_4.readable_published(results)
    assert list(ours.columns) == list(paper.columns) == ["64", "96", "128", "192", "Avg."]
    assert [row for bench, row in ours.index if bench == "POPE"] == [
        "without (refilled)", "without (not refilled)", "with",
        "gain over without (refilled)", "gain over without (not refilled)",
    ]  # fmt: skip
    assert paper.loc[("POPE", "with")].tolist() == ["77.5", "81.9", "85.0", "85.3", "82.4"]
    assert paper.loc[("POPE", "without"), "Avg."] == "79.8"
    assert paper.loc[("GQA", "gain"), "64"] == "+1.6"
    assert ours.loc[("GQA", "gain over without (refilled)"), "192"] == "+0.0 [+0.0, +0.0]"


def test_the_tokens_that_are_really_left_are_shown(results):
    table = table_4.tokens_table(results)
    assert table.loc[("mini-llava", "without (not refilled)"), "64"] == "60.0"
    assert table.loc[("mini-llava", "with"), "64"] == "64.0"
    analytic = table.loc["LLaVA-1.5-7B (analytic)"].astype(float)
    assert analytic.loc["with", "192"] == 192.0
    assert analytic.loc["without (not refilled)", "192"] < analytic.loc["with", "192"]


def test_the_claim_follows_the_numbers(results):
    table = table_4.claim(results).table
    assert table.shape == (2 * 2 * 2, 2)
    mean, grown = table.columns
    refilled, other = "over without (refilled)", "over without (not refilled)"
    assert table.loc[("GQA", f"{refilled}, in the paper"), mean] == "+0.8"
    assert table.loc[("GQA", other), mean].startswith("agrees +")
    assert grown == "gain at 64 minus gain at 192"
    assert table.loc[("POPE", f"{refilled}, in the paper"), grown] == "+4.6"
    assert table.loc[("GQA", other), grown].startswith("cannot tell"), "the same gain everywhere"


def test_the_files_hold_every_number_once(results, tmp_path):
    files = table_4.REPORT.write(results, tmp_path)
    assert [path.name for path in files] == [f"table_4.{kind}" for kind in TABLE_FORMATS]
    back = pd.read_csv(files[1])
    assert len(back) == 2 * 3 * 4 and "miniature" in back["model"][0]
    assert back["gain"].isna().sum() == 2 * 4, "none over itself"
    page = files[0].read_text(encoding="utf-8")
    assert page.count("\n## ") == 3 and "not LLaVA-1.5" in page.splitlines()[0]


def test_the_figure_draws_measured_and_published_gains(results):
    panels = table_4.figure(results).axes
    assert [axes.get_title() for axes in panels] == ["GQA", "POPE"]
    (paper,) = [line for line in panels[1].lines if line.get_label() == "published, LLaVA-1.5-7B"]
    np.testing.assert_allclose(paper.get_ydata(), [4.7, 4.4, 1.3, 0.1])
    drawn = {bars.get_label(): bars.lines[0].get_ydata() for bars in panels[0].containers}
    expected = [table_4.gain(results, REFILLED, "gqa", [t]).value for t in (64, 96, 128, 192)]
    np.testing.assert_allclose(
        np.asarray(drawn["measured, over without (refilled)"], dtype=float), expected
    )
