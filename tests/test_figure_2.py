"""Figure 2: every step of the drawing follows from the one before, in one real forward pass."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from other_models import profile_of

from sparsevlm.paper.figures import figure_2

matplotlib.use("Agg")
STAGES = range(3)


@pytest.fixture(scope="module")
def found():
    return figure_2.measure("mini", 64)


def stage_of(found, number):
    return found.run.breakdowns[number], found.run.sample.stages[number]


def test_raters_are_the_words_above_the_mean(found):
    above = np.flatnonzero(found.run.relevance > found.run.relevance.mean())
    assert found.run.raters == above.tolist() and found.run.relevance.sum() == pytest.approx(1)


@pytest.mark.parametrize("number", STAGES)
def test_scores_are_the_column_mean_of_p(found, number):
    stage, traced = stage_of(found, number)
    assert stage.rating.shape == (len(found.run.raters), len(traced.scores))
    np.testing.assert_allclose(stage.rating.mean(0), traced.scores, rtol=1e-5)
    assert stage.source.tolist() == traced.score_ids


@pytest.mark.parametrize("number", STAGES)
def test_the_best_are_kept_the_next_best_recycled(found, number):
    stage, _ = stage_of(found, number)
    kept, recycled, dropped = (stage.scores[stage.status == code] for code in range(3))
    assert kept.min() >= recycled.max() and recycled.min() >= dropped.max()


@pytest.mark.parametrize("number", STAGES)
def test_counts_add_up(found, number):
    stage, traced = stage_of(found, number)
    row = figure_2.summary(found.run).iloc[number]
    assert (
        row["kept"] + row["recycled"] + row["dropped"] == row["tokens before"] == len(stage.status)
    )
    assert row["tokens after"] == traced.num_left == found.run.sample.tokens_out[stage.layer]
    gone = row["recycled"] + row["dropped"]
    assert stage.lam * (len(stage.status) - stage.rank) == pytest.approx(gone)
    assert 1 <= stage.rank <= len(found.run.raters)


def test_the_map_paints_members_of_merged_tokens_and_leaves_dropped_patches_blank(found):
    source = found.run.stages[1].source
    grid = found.run.on_grid(1, np.arange(len(source)))
    before = found.run.sample.stages[0]
    painted = set(before.kept).union(*before.groups)
    assert set(np.flatnonzero(~np.isnan(grid))) == painted
    assert (grid[before.groups[0]] == source.tolist().index(before.group_ids[0])).all()


def test_the_figure_has_a_panel_per_step(found):
    figure = figure_2.draw(found)
    assert len(figure.axes) == 8
    written = {text.get_text() for text in figure.texts}
    assert {"1", "2", "3", "4", "5", "6"} <= written
    layers = figure.axes[-1]
    heights = sum(np.array([p.get_height() for p in layers.patches]).reshape(-1, 2).T)
    assert heights.tolist() == found.run.sample.tokens_in


@pytest.mark.parametrize("number", [-1, 3])
def test_a_stage_that_is_not_there_is_refused(number):
    with pytest.raises(ValueError, match="stage must be from 0 to 2"):
        figure_2.measure("mini", 64, stage=number)


@pytest.mark.parametrize("model", ["llava", "qwen2_vl", "mini-gemini"])
def test_any_model_is_taken_apart(model, tmp_path):
    data = figure_2.measure(profile_of(model, tmp_path), 64, stage=0)
    np.testing.assert_allclose(data.stage.rating.mean(0), data.stage.scores, rtol=1e-4)
    assert len(figure_2.table(data)) == data.run.sample.num_visual
    assert len(figure_2.draw(data).axes) == 8
    assert data.run.image.size[0] >= 96


def test_the_words_of_the_question_are_told_from_the_template(tmp_path):
    data = figure_2.measure(profile_of("llava", tmp_path), 64, image="chelsea", question="Why so?")
    words = [data.run.words[i] for i in data.run.asked]
    assert words == ["W", "h", "y", "␣", "s", "o", "?"]
    assert "".join(data.run.words[data.run.asked.stop :]).strip("␣") == "ASSISTANT:"
