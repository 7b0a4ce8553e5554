"""Figures 8 to 10: accuracy against cost, measured and published apart."""

from __future__ import annotations

import numpy as np
import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import published, study
from sparsevlm.analysis.study import DENSE_SETTING
from sparsevlm.paper.figures import figure_8, figure_9, figure_10

FIGURES = {one.FIGURE.name: one.FIGURE for one in (figure_8, figure_9, figure_10)}
SKILL = {"dense": 0.95, "sparsevlm": 0.8, "random": 0.5}


def measured(study_name, **changes):
    profile = narrowed(study_name, methods=("sparsevlm", "random"), **changes)
    return study.from_records(profile, fabricate(profile, SKILL), SHAPE)


@pytest.fixture(scope="module")
def llava():
    return measured("table_1", benchmarks=("pope", "textvqa", "mme"))


@pytest.fixture(scope="module")
def video():
    return measured("table_3", benchmarks=("tgif", "msvd"), budgets=(388, 194))


def test_the_data_has_every_setting_and_its_cost(llava):
    data = figure_8.FIGURE.numbers(llava)
    assert len(data) == 3 * (1 + 2 * 3)
    dense = data[data["method"] == "dense"]
    assert dense["FLOPs (%)"].eq(100).all() and dense["SparseVLM ahead by"].isna().all()
    cheap = data[(data["benchmark"] == "POPE") & (data["tokens"] == 64)]
    assert cheap["FLOPs (%)"].lt(60).all()
    ours, random = (cheap[cheap["method"] == m].iloc[0] for m in ("sparsevlm", "random"))
    assert random["SparseVLM ahead by"] == pytest.approx(ours["score"] - random["score"])
    assert random["ahead low"] > 0


def test_the_published_points_are_those_of_the_table():
    flops, latency = figure_8.FIGURE.paper_rows
    points = latency.points("mme")
    assert points == {
        "dense": [(57.82, 1864.0)],
        "sparsevlm": [(29.89, 1589.0), (33.28, 1746.0), (36.50, 1787.0)],
    }
    assert flops.points("pope")["sparsevlm"][0] == (1.30, 77.5)


def test_what_the_paper_does_not_print_is_not_drawn():
    (row,) = figure_9.FIGURE.paper_rows
    assert row.points("mme") == {}
    assert len(row.points("textvqa")["sparsevlm"]) == 5
    (row,) = figure_10.FIGURE.paper_rows
    assert row.points("tgif") == {
        "dense": [(2048.0, 18.9)], "sparsevlm": [(194.0, 14.9)],
    }  # fmt: skip
    for figure in FIGURES.values():
        for row in figure.paper_rows:
            assert {one.model for one in published.rows(row.item)} == {figure.paper_model}


def test_panels_that_no_run_answers_are_named(llava, video):
    assert "missing" not in "".join(figure_8.FIGURE.sentences(llava))
    only = measured("figure_4", benchmarks=("pope",), budgets=(64,))
    lines = figure_9.FIGURE.sentences(only)
    assert lines[-1].startswith("The paper's panel of TextVQA, MME is missing")
    with pytest.raises(ValueError, match="figure_8 is of pope, textvqa, mme, and study 'table_3'"):
        figure_8.FIGURE.panels(video)


def test_random_choice_is_compared_panel_by_panel(video):
    lines = figure_10.FIGURE.sentences(video)
    assert len(lines) == 2 * 2 + 1
    assert lines[0].startswith("TGIF-QA at 388 tokens: SparseVLM minus random choice is +")
    assert lines[-1].startswith("Of 4 comparisons of SparseVLM with random choice, SparseVLM is")


def test_measured_and_published_rows_are_apart_and_named(llava):
    fig = figure_8.FIGURE.figure(llava)
    panels = np.array(fig.axes).reshape(3, 3)
    assert [axes.get_title() for axes in panels[0]] == ["POPE", "TextVQA", "MME"]
    assert "mini-llava" in panels[0, 0].get_ylabel()
    assert all("LLaVA-1.5-7B" in axes.get_ylabel() for axes in panels[1:, 0])
    assert panels[0, 0].get_xlabel() == "prefill FLOPs (% of dense)"
    assert [panels[row, 0].get_xlabel() for row in (1, 2)] == [
        "prefill TFLOPs", "latency on an A100 (ms)",
    ]  # fmt: skip
    ours = next(c for c in panels[0, 0].containers if c.get_label() == "SparseVLM").lines[0]
    expected = [llava.value("score", ("sparsevlm", b), "pope") for b in (64, 128, 192)]
    np.testing.assert_allclose(ours.get_ydata().astype(float), expected)
    star = next(line for line in panels[0, 2].lines if line.get_label() == "Dense")
    assert star.get_ydata() == [llava.value("score", DENSE_SETTING, "mme")]


def test_a_panel_without_published_numbers_says_so():
    results = measured("figure_4", benchmarks=("pope", "mme"), budgets=(64,))
    fig = figure_9.FIGURE.figure(results)
    empty = fig.axes[3]
    assert [text.get_text() for text in empty.texts] == ["no published\nnumber"]
    assert not [line for line in empty.lines if line.get_label() in ("SparseVLM", "Dense")]


def test_a_small_difference_does_not_fill_a_panel(video):
    fig = figure_10.FIGURE.figure(video)
    low, high = fig.axes[-1].get_ylim()
    assert low <= 0.85 * 72.0 and high >= 72.0
