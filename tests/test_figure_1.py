"""Figure 1: the question changes SparseVLM's survivors and nobody else's; focus is what it says."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from sparsevlm.analysis import ask
from sparsevlm.paper.figures import figure_1
from sparsevlm.runtime.trace import SampleTrace, StageTrace

matplotlib.use("Agg")


def _sample(kept, groups):
    ids = [576 + i for i in range(len(groups))]
    cut = StageTrace(0, kept, groups, ids, [], [], [], len(kept) + len(groups))
    return SampleTrace(576, (24, 24), [cut], [576], [cut.num_left])


@pytest.mark.parametrize(
    ("kept", "groups", "expected"),
    [
        ([1, 2, 3, 9], [], 0.5),
        ([9, 8], [[1, 2]], 1 / 3),
        ([9], [[1, 7, 8, 10]], 1 / 8),  # a quarter of the merged token, of two tokens
        ([9], [], 0.0),
    ],
)
def test_focus_counts_tokens_by_the_share_that_shows_the_target(kept, groups, expected):
    assert figure_1.focus(_sample(kept, groups), [1, 2]) == pytest.approx(expected)


@pytest.fixture(scope="module")
def found():
    return figure_1.measure("mini", 64, num_questions=2)


def test_only_the_guided_method_follows_the_question(found):
    table = figure_1.table(found).set_index("method")["same tokens as question 1"]
    assert table["sparsevlm"].tolist() == [True, False, False]
    guided = figure_1.table(found).set_index("method").loc["sparsevlm"]
    assert (guided["answer"] == guided["truth"]).all()  # as the notebook says
    for method in figure_1.AGNOSTIC:
        assert table[method].all()


def test_survivors_are_about_the_question_more_than_chance(found):
    guided = figure_1.table(found).set_index("method").loc["sparsevlm", "focus"]
    assert (guided > 5 * found.area.mean()).all()


def test_summary_has_every_method_and_the_area(found):
    frame = figure_1.summary(found)
    assert list(frame.index) == ["sparsevlm", "tome", "uniform", "chance (area)"]
    assert (frame["low"] <= frame["mean"]).all() and (frame["mean"] <= frame["high"]).all()


def test_the_figure_shows_every_question_under_both_methods(found):
    figure = figure_1.draw(found)
    assert sum(bool(axes.images) for axes in figure.axes) == 1 + 2 * len(figure_1.ASKED)
    words = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"card", "ring", "frame"} <= words


def test_drawn_questions_name_something_and_take_turns():
    drawn = ask.drawn_questions(6, ("gqa", "pope"))
    assert len({seed for seed, _, _ in drawn}) == 6
    assert [question.startswith("is there") for _, question, _ in drawn] == [False, True] * 3
    assert all(ask.target_of(seed, question) for seed, question, _ in drawn)


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("what color is the ring ?", ["blue ring"]),
        ("what shape is the pink thing ?", ["pink cross"]),
        ("is there a blue ring in the image ?", ["blue ring"]),
        ("is there a pink ring in the image ?", []),
        ("what letter is on the olive card ?", ["olive card"]),
        ("what shape is the pink thing ? A ring B square", ["pink cross"]),
        ("what do you see ?", []),
    ],
)
def test_named_patches_are_those_of_the_objects_that_are_named(question, names):
    scene = ask.scene_of(0)
    wanted = [i for o in scene.objects if str(o) in names for i in scene.patches_of(o)]
    assert ask.named_patches(scene, question) == sorted(wanted)


def test_the_interval_surrounds_the_mean_and_closes_on_constants():
    mean, low, high = ask.mean_and_interval(np.array([0.0, 1.0, 1.0, 1.0]))
    assert low < mean == 0.75 < high
    assert ask.mean_and_interval(np.ones((5, 2))).tolist() == [[1, 1]] * 3
