"""Survivor figures: every token is drawn as what became of it, and nothing is computed twice."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from PIL import Image

from sparsevlm.analysis.survivors import DROPPED, ENLARGE, kept_outline, survivor_image
from sparsevlm.miniature.weights import DATA
from sparsevlm.paper.figures import figure_6

matplotlib.use("Agg")


def _black(side: int = 8) -> Image.Image:
    return Image.new("RGB", (side, side), "black")


def test_kept_patches_show_the_picture_and_dropped_ones_fade():
    picture = survivor_image(_black(), (2, 2), kept=[0], groups=[[3]])
    run = 4 * ENLARGE
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
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figure_6")
    asked = figure_6.ASKED[:3]  # two of one scene, one of another
    first = figure_6.examples("mini", 64, asked, folder)
    (kept,) = folder.iterdir()
    before = kept.stat().st_mtime_ns
    again = figure_6.examples("mini", 64, asked, folder)
    assert first == again and kept.stat().st_mtime_ns == before  # read, not run again
    return first


def test_the_bundled_miniature_is_there():
    assert (DATA / "mini-llava" / "model.safetensors").exists()


def test_one_scene_under_two_questions_keeps_different_tokens(found):
    first, second, _ = found
    assert first.scene_seed == second.scene_seed
    last = [set(e.stages[-1]["kept"]) for e in (first, second)]
    assert len(last[0] & last[1]) < 0.7 * min(map(len, last))


def test_counts_of_the_examples_meet_the_budget(found):
    for example in found:
        assert abs(example.mean_tokens_out - 64) <= 1
        assert example.mean_tokens_in > example.mean_tokens_out
        for stage in example.stages:
            assert stage["num_left"] == len(stage["kept"]) + len(stage["groups"])
        for before, after in zip(example.stages, example.stages[1:], strict=False):
            assert set(after["kept"]) <= set(before["kept"])


def test_the_figure_draws_a_row_per_question(found):
    figure = figure_6.draw(found, 64)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == len(found) * (1 + len(found[0].stages))
    words = {t.get_text() for axes in figure.axes for t in axes.texts}
    assert set(found[0].words[:3]) <= words


def test_the_overlap_table_compares_questions_of_one_scene(found):
    table = figure_6.overlap_table(found)
    assert len(table) == len(found[0].stages)
    assert table["shared"].between(0, 1).all()
