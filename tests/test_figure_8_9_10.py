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
    points = figure_8.FIGURE.points("mme")
    assert points == pytest.approx({64: 1589 / 18.64, 128: 1746 / 18.64, 192: 1787 / 18.64})
    latency, mean = figure_8.FIGURE.latencies()[64]
    shares = (77.5 / 85.9, 53.4 / 58.3, 1589 / 1864)
    assert (latency, mean) == (29.89, pytest.approx(100 * sum(shares) / 3, abs=0.2))


def test_what_the_paper_does_not_print_is_not_drawn():
    assert figure_9.FIGURE.points("mme") == {}
    assert len(figure_9.FIGURE.points("textvqa")) == 5
    assert figure_10.FIGURE.points("tgif") == pytest.approx({194: 100 * 14.9 / 18.9})
    for figure in FIGURES.values():
        assert {one.model for one in published.rows(figure.item)} == {figure.paper_model}


def test_panels_that_no_run_answers_are_named(llava, video):
    assert "missing" not in "".join(figure_8.FIGURE.page(llava)[0].sentences)
    only = measured("figure_4", benchmarks=("pope",), budgets=(64,))
    lines = figure_9.FIGURE.page(only)[0].sentences
    assert lines[-1].startswith("The paper's panel of TextVQA, MME is missing")
    with pytest.raises(ValueError, match="figure_8 is of pope, textvqa, mme, and study 'table_3'"):
        figure_8.FIGURE.panels(video)


def test_random_choice_is_compared_panel_by_panel(video):
    (section,) = figure_10.FIGURE.page(video)
    assert list(section.table.columns) == ["388", "194"] and len(section.table) == 2
    apart = video.score_difference("tgif", ("sparsevlm", 388), ("random", 388))
    shown = section.table.loc[("TGIF-QA", "SparseVLM minus random"), "388"]
    assert shown == f"{apart.value:+.1f} [{apart.low:+.1f}, {apart.high:+.1f}]"
    (line,) = section.sentences
    assert line.startswith("Of 4 comparisons of SparseVLM with random choice, SparseVLM is")


def test_one_row_of_panels_shows_measured_and_published_on_one_scale(llava):
    fig = figure_8.FIGURE.figure(llava)
    assert [axes.get_title() for axes in fig.axes] == [
        "POPE", "TextVQA", "MME", "mean, as published",
    ]  # fmt: skip
    assert len({axes.get_ylim() for axes in fig.axes}) == 1
    about = fig.legends[0]
    assert about.get_title().get_text() == "measured: mini-llava-32, miniature model, not LLaVA-1.5"
    assert "SparseVLM, LLaVA-1.5-7B, Table 1" in [t.get_text() for t in about.get_texts()]
    pope, latency = fig.axes[0], fig.axes[3]
    ours = next(c for c in pope.containers if c.get_label() == "SparseVLM").lines[0]
    expected = [llava.value("percent", ("sparsevlm", b), "pope") for b in (64, 128, 192)]
    np.testing.assert_allclose(ours.get_ydata().astype(float), expected)
    hollow = next(line for line in pope.lines if "Table 1" in line.get_label())
    assert hollow.get_markerfacecolor() == "white" and list(hollow.get_xdata()) == [64, 128, 192]
    star = next(line for line in pope.lines if line.get_label() == "Dense")
    whole = round(llava.value("tokens out", DENSE_SETTING))
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([whole], [100])
    assert [tick.get_text() for tick in pope.get_xticklabels()] == ["64", "128", "192", str(whole)]
    (top,) = pope.child_axes
    assert top.get_xlabel() == "prefill FLOPs (% of dense)"
    shares = [f"{llava.value('FLOPs (%)', ('sparsevlm', b)):.0f}" for b in (64, 128, 192)]
    assert [tick.get_text() for tick in top.get_xticklabels()] == [*shares, "100"]
    assert [text.get_text() for text in latency.texts] == ["64", "128", "192"]


def test_a_panel_without_published_numbers_says_so():
    results = measured("figure_4", benchmarks=("pope", "mme"), budgets=(64,))
    pope, mme = figure_9.FIGURE.figure(results).axes
    assert [text.get_text() for text in mme.texts] == ["no published number"]
    assert any("read off" in line.get_label() for line in pope.lines)
    assert not any("read off" in line.get_label() for line in mme.lines)
