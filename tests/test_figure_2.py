"""Figure 2: every step of the drawing follows from the one before, in one real forward pass."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from sparsevlm.paper.figures import figure_2, figure_2_drawing

matplotlib.use("Agg")
CUTS = range(3)


@pytest.fixture(scope="module")
def found():
    return figure_2.measure("mini", 64)


def cut_of(found, number):
    return figure_2.take_apart(found.run, number), found.run.sample.stages[number]


def test_raters_are_the_words_above_the_mean(found):
    above = np.flatnonzero(found.run.relevance > found.run.relevance.mean())
    assert found.run.raters == above.tolist() and found.run.relevance.sum() == pytest.approx(1)


@pytest.mark.parametrize("number", CUTS)
def test_scores_are_the_column_mean_of_p(found, number):
    cut, traced = cut_of(found, number)
    assert cut.rating.shape == (len(found.run.raters), len(traced.scores))
    np.testing.assert_allclose(cut.rating.mean(0), traced.scores, rtol=1e-5)
    assert cut.source.tolist() == traced.score_ids


@pytest.mark.parametrize("number", CUTS)
def test_the_best_are_kept_the_next_best_recycled(found, number):
    cut, _ = cut_of(found, number)
    kept, recycled, dropped = (cut.scores[cut.fate == code] for code in range(3))
    assert kept.min() >= recycled.max() and recycled.min() >= dropped.max()


@pytest.mark.parametrize("number", CUTS)
def test_counts_add_up(found, number):
    cut, traced = cut_of(found, number)
    row = figure_2.summary(found).iloc[number]
    assert row["kept"] + row["recycled"] + row["dropped"] == row["tokens before"] == len(cut.fate)
    assert row["tokens after"] == traced.num_left == found.run.sample.tokens_out[cut.layer]
    gone = row["recycled"] + row["dropped"]
    assert cut.lam * (len(cut.fate) - cut.rank) == pytest.approx(gone)
    assert 1 <= cut.rank <= len(found.run.raters)


def test_the_map_paints_members_of_merged_tokens_and_leaves_dropped_patches_blank(found):
    source = found.run.seen[1].source
    grid = figure_2.on_grid(found.run, 1, np.arange(len(source)))
    before = found.run.sample.stages[0]
    painted = set(before.kept).union(*before.groups)
    assert set(np.flatnonzero(~np.isnan(grid))) == painted
    assert (grid[before.groups[0]] == source.tolist().index(before.group_ids[0])).all()


def test_the_figure_has_a_panel_per_step(found):
    figure = figure_2_drawing.draw(found)
    assert len(figure.axes) == 9
    written = {text.get_text() for text in figure.texts}
    assert {"1", "2", "3", "4", "5", "6"} <= written
    layers = figure.axes[-1]
    heights = sum(np.array([p.get_height() for p in layers.patches]).reshape(-1, 2).T)
    assert heights.tolist() == found.run.sample.tokens_in


@pytest.mark.parametrize("number", [-1, 3])
def test_a_cut_that_is_not_there_is_refused(number):
    with pytest.raises(ValueError, match="number must be a cut from 0 to 2"):
        figure_2.measure("mini", 64, number=number)
