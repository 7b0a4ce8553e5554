"""Figure 3: relevance, raters and what becomes of the target are those of the real runs."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from other_models import QUICK, profile_of

from sparsevlm.analysis.panels import RATERS, Canvas, draw_relevance
from sparsevlm.paper.figures import figure_3

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def found():
    return figure_3.measure(QUICK, 64)


def test_four_kinds_of_questions_are_shown():
    assert len({one.kind for one in figure_3.ASKED}) == len(figure_3.ASKED) == 4


def test_the_table_has_every_word_and_its_relevance(found):
    table = figure_3.table(found)
    table = table[table["kind"] == "GQA"]
    assert table["word"].tolist() == list(found.prompts[0].raters.words)
    assert table["relevance"].sum() == pytest.approx(1)
    assert table["rates"].tolist() == (table["relevance"] > table["mean"]).tolist()


def test_all_words_rate_in_the_comparison(found):
    summary = figure_3.summary(found)[:2].set_index("who rates")
    prompt = found.prompts[0]
    assert summary.loc["all words rate", "raters"] == len(prompt.raters.words)
    assert summary.loc["raters only", "raters"] == len(prompt.raters.raters)
    kept = set(prompt.raters.sample.stages[-1].kept)
    assert summary.loc["raters only", "of these left"] == len(kept & set(prompt.raters.target))


def test_the_rows_go_as_the_notebook_says(found):
    summary = figure_3.summary(found).set_index(["kind", "who rates"])
    left, right = summary["of these left"], summary["answer"] == summary["truth"]
    assert right["GQA"].all() and right["POPE"].all()
    for kind in ("TextVQA", "MMBench"):
        assert left[kind, "raters only"] == 0 < left[kind, "all words rate"]
        assert right[kind, "all words rate"] and not right[kind, "raters only"]
    assert [found.prompts[2].raters.words[i] for i in found.prompts[2].raters.raters] == ["card"]
    assert [found.prompts[3].raters.words[i] for i in found.prompts[3].raters.raters] == [
        "left",
        "middle",
        "right",
    ]


def test_bars_are_the_relevance_and_raters_stand_out(found):
    figure = figure_3.draw(replace(found, prompts=found.prompts[:1]))
    (bars,) = (axes for axes in figure.axes if axes.patches and not axes.images)
    relevance = found.prompts[0].raters.relevance
    heights = [-patch.get_height() / figure_3.BAR for patch in bars.patches]
    np.testing.assert_allclose(heights, relevance, atol=1e-6)
    rated = [matplotlib.colors.to_hex(p.get_facecolor()) == RATERS.lower() for p in bars.patches]
    raters = found.prompts[0].raters.raters
    assert np.flatnonzero(rated).tolist() == raters
    digits = [text.get_text() for text in bars.texts if text.get_text().startswith("0.")]
    assert digits == [f"{relevance[i]:.2f}" for i in raters]


def test_a_long_sentence_has_several_lines_and_boxes_do_not_overlap():
    axes = Canvas(3, 1).panel(0, 0, 3, 1)
    draw_relevance(axes, ["hourglass"] * 8, [0.125] * 8, [2], bar=0.12, size=7)
    words = [text for text in axes.texts if text.get_text() == "hourglass"]
    axes.figure.canvas.draw()
    boxes = [word.get_bbox_patch().get_window_extent() for word in words]
    assert len({round(box.y0) for box in boxes}) > 1 and max(box.x1 for box in boxes) <= 450
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert {text.get_size() for text in words} == {7}
    framed = [text.get_bbox_patch().get_edgecolor()[3] > 0 for text in words]
    assert framed == [index == 2 for index in range(8)]


def test_the_failures_are_named(found):
    first, second = figure_3.findings(found).splitlines()
    assert "**TextVQA**: *card* rate" in first and "not 'Z'; of 9 patches asked for 0" in first
    assert "**MMBench**: *left*, *middle*, *right* rate" in second


@pytest.mark.parametrize("model", ["llava", "mini-gemini"])
def test_any_model_is_compared(model, tmp_path):
    data = figure_3.measure(profile_of(model, tmp_path), 64)
    summary = figure_3.summary(data)
    assert len(summary) == 8 and ("truth" in summary) is model.startswith("mini")
    assert figure_3.table(data).groupby("question")["relevance"].sum().round(4).eq(1).all()
    assert sum(bool(axes.images) for axes in figure_3.draw(data).axes) == 12
    assert isinstance(figure_3.findings(data), str)
