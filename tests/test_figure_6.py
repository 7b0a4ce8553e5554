"""Survivor figures: every token is drawn as what became of it, for any model."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from other_models import profile_of
from PIL import Image

from sparsevlm.analysis.survivors import DROPPED, ENLARGE, kept_outline, survivor_image
from sparsevlm.miniature.weights import DATA
from sparsevlm.paper.figures import figure_6

matplotlib.use("Agg")


def _black(side: int = 8) -> Image.Image:
    return Image.new("RGB", (side, side), "black")


def test_kept_patches_show_the_picture_and_dropped_ones_fade():
    picture = survivor_image(_black(), (2, 2), kept=[0], groups=[[3]])
    run = 4 * ENLARGE[-1]
    assert picture.shape == (2 * run, 2 * run, 3)
    assert (picture[:run, :run] == 0).all()
    assert (picture[:run, run:] == round(255 * (1 - DROPPED))).all()
    recycled = picture[run:, run:].reshape(-1, 3)
    assert len(np.unique(recycled, axis=0)) == 1
    assert 0 < recycled.mean() < 255 * (1 - DROPPED)


def test_neighbouring_groups_have_different_colours():
    picture = survivor_image(_black(), (2, 2), kept=[], groups=[[0], [1]])
    assert (picture[0, 0] != picture[0, -1]).any()


def test_the_outline_surrounds_the_survivors():
    assert len(kept_outline((3, 3), [4])) == 4
    assert len(kept_outline((3, 3), [0, 1])) == 6
    assert len(kept_outline((3, 3), range(9))) == 12  # the border of the picture counts
    assert kept_outline((3, 3), []).shape == (0, 2, 2)


@pytest.fixture(scope="module")
def found():
    return figure_6.measure("mini", 64, asked=figure_6.ASKED[:3])  # two of one scene


def test_the_bundled_miniature_is_there():
    assert (DATA / "mini-llava" / "model.safetensors").exists()


def test_a_photograph_is_drawn_at_about_its_own_size():
    picture = survivor_image(Image.new("RGB", (250, 130), "black"), (3, 7), [0], [], pixels=300)
    assert picture.shape == (3 * 70, 7 * 70, 3)
    picture = survivor_image(Image.new("RGB", (5, 5), "black"), (6, 6), range(36), [])
    assert picture.shape == (60, 60, 3) and not picture.any()  # smaller than its grid


def test_one_scene_under_two_questions_keeps_different_tokens(found):
    first, second, _ = found.pruned
    assert first.example.seed == second.example.seed
    last = [set(one.sample.stages[-1].kept) for one in (first, second)]
    assert len(last[0] & last[1]) < 0.7 * min(map(len, last))


def test_counts_of_the_examples_meet_the_budget(found):
    for one in found.pruned:
        sample = one.sample
        assert abs(np.mean(sample.tokens_out) - 64) <= 1
        assert sum(sample.tokens_in) > sum(sample.tokens_out)
        for stage in sample.stages:
            assert stage.num_left == len(stage.kept) + len(stage.groups)
        for before, after in zip(sample.stages, sample.stages[1:], strict=False):
            assert set(after.kept) <= set(before.kept)


def test_the_figure_draws_a_row_per_question(found):
    figure = figure_6.draw(found)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 3 * (1 + len(found.pruned[0].sample.stages))
    words = {t.get_text() for axes in figure.axes for t in axes.texts}
    assert set(found.pruned[0].words[:3]) <= words


def test_the_overlap_table_compares_questions_of_one_scene(found):
    table = figure_6.overlap_table(found)
    assert table["scene"].tolist() == [6, 6, 6] and table["shared"].between(0, 1).all()


@pytest.mark.parametrize("model", ["llava", "mini_gemini", "mini-qwen2-vl"])
def test_any_model_has_its_rows(model, tmp_path):
    data = figure_6.measure(profile_of(model, tmp_path), 64)
    scenes = model.startswith("mini-")
    table = figure_6.overlap_table(data)
    assert len(table) == 9 and ("scene" if scenes else "image") in table
    figure = figure_6.draw(data)
    assert sum(bool(axes.images) for axes in figure.axes) == 6 * 4
    written = {t.get_text() for axes in figure.axes for t in axes.texts}
    assert any("✓" in text or "✗" in text for text in written) is scenes
    if not scenes:  # LLaVA pads a photograph to a square; so the panels are square
        assert {one.image.width - one.image.height for one in data.pruned} == {0}
