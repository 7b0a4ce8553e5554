"""Table 3 from records: the numbers, the comparison with the paper, what is written and drawn."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import study, tables
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.style import TABLE_FORMATS
from sparsevlm.paper.tables import table_3

PROFILE = narrowed("table_3", 40)
SKILL = {"dense": 0.95, "sparsevlm": 0.8, "sparsevlm-video": 0.75, "fastv": 0.5, "random": 0.45}


def measured(**how):
    records = fabricate(PROFILE, SKILL, layers=16, visual=lambda number: 2056, **how)
    return study.from_records(PROFILE, records, SHAPE)


@pytest.fixture(scope="module")
def results():
    return measured()


def test_rows_are_dense_then_the_methods_at_194(results):
    assert results.settings == [("dense", None), *((method, 194) for method in PROFILE.methods)]


def test_percentages_are_of_the_dense_model_and_the_average_is_their_mean(results):
    dense = study.DENSE_SETTING
    assert results.get("relative accuracy", dense) == Estimate(100, 100, 100)
    for setting in results.settings:
        percents = [results.get("percent", setting, name) for name in PROFILE.benchmarks]
        for name, percent in zip(PROFILE.benchmarks, percents, strict=True):
            scores = [results.value("score", one, name) for one in (setting, dense)]
            assert percent.value == pytest.approx(100 * scores[0] / scores[1])
            assert percent.low <= percent.value <= percent.high
        mean = np.mean([percent.value for percent in percents])
        assert results.value("relative accuracy", setting) == pytest.approx(mean)


def test_differences_are_paired_and_in_points(results):
    ours, random, dense = ("sparsevlm", 194), ("random", 194), study.DENSE_SETTING
    means = {s: results.value("mean score", s) for s in (ours, random, dense)}
    against = {kind: results.get(kind, ours) for kind in ("minus dense", "minus random")}
    assert against["minus dense"].value == pytest.approx(means[ours] - means[dense])
    assert against["minus random"].value == pytest.approx(means[ours] - means[random])
    assert against["minus dense"].high < 0 < against["minus random"].low
    nothing = [("minus random", random), ("minus random", dense), ("minus dense", dense)]
    assert [results.find(*one) for one in nothing] == [None] * 3


def test_flops_and_cache_come_from_the_tokens_that_enter_each_layer(results):
    n = np.array([2056 + 14] + [194 + 14] * 15)
    flops = (4 * n * 128**2 + 2 * n**2 * 128 + 3 * n * 128 * 352).sum()
    sparse = ("sparsevlm", 194)
    assert results.value("GFLOPs", sparse) == pytest.approx(flops / 1e9)
    assert results.value("KV (MB)", sparse) == pytest.approx(n.sum() * 2 * 128 * 2 / 1e6)
    assert results.value("tokens in", sparse) == pytest.approx((2056 + 15 * 194) / 16)


def test_the_paper_is_read_from_its_table_and_its_means_are_recomputed():
    assert table_3.PAPER["sparsevlm", 194]["MSVD-QA_accuracy"] == 71.7
    assert table_3.published_relative("sparsevlm") == pytest.approx(95.0, abs=0.05)
    assert table_3.published_relative("fastv") == pytest.approx(80.3, abs=0.05)
    shown = table_3.published_text()
    assert shown.loc[("194", "FastV"), "TGIF-QA score"] == "2.29"


def test_the_grid_says_what_the_paper_says_and_what_is_measured(results):
    table = table_3.claim(results).table["194"]
    gap = results.difference(("sparsevlm", 194), ("fastv", 194))
    assert table["SparseVLM", "FastV, in the paper"] == "+14.7"
    assert table["SparseVLM", "FastV"] == f"agrees {gap}"
    assert len(table.xs("Random", level="minus")) == 2
    assert len(table.xs("Dense", level="minus")) == len(PROFILE.methods)


def test_files_say_that_they_are_of_a_miniature_and_keep_the_paper_apart(results, tmp_path):
    paths = table_3.REPORT.write(results, tmp_path)
    assert [p.name for p in paths] == [f"table_3.{kind}" for kind in TABLE_FORMATS]
    for path in paths:
        assert "miniature model, not Video-LLaVA" in path.read_text(), path
    page = paths[0].read_text()
    assert page.index("miniature") < page.index(table_3.PAPER_TITLE)
    data = pd.read_csv(io.StringIO(paths[1].read_text()))
    assert len(data) == len(results.settings) and data["KV (%)"].iloc[0] == 100
    assert "TGIF-QA accuracy" not in data  # the paper's column


def test_the_figure_shows_measured_and_published_apart(results):
    figure = table_3.figure(results)
    here, paper = figure.axes
    assert "miniature" in here.get_title() and "published" in paper.get_title()
    assert [t.get_text() for t in here.get_xticklabels()][-1] == "average"
    assert len(paper.lines) == 3  # FastV, SparseVLM, and the line at 100


def test_kinds_of_questions_are_counted_method_by_method(results):
    table = tables.by_kind(results)
    assert table["questions"].sum() == 4 * 40
    one = results.records["fastv", 194, "tgif"]
    rows = [r for r in one.predictions if r["split"] == "count"]
    right = 100 * sum(r["prediction"] == r["answer"] for r in rows) / len(rows)
    assert table.loc[("TGIF-QA", "count"), "FastV"] == pytest.approx(right)
    assert 0 < right < 100 and list(table)[:2] == ["questions", "Dense"]


def test_kinds_at_several_budgets_are_refused(results):
    two = replace(results, profile=replace(results.profile, budgets=(194, 97)))
    with pytest.raises(ValueError, match="one budget"):
        tables.by_kind(two)
