"""Figure 1: the question changes SparseVLM's survivors and nobody else's; focus is what it says."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from other_models import profile_of

from sparsevlm.analysis.statistics import mean_and_interval
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.paper.figures import figure_1
from sparsevlm.runtime.trace import SampleTrace, StageTrace

matplotlib.use("Agg")


def _sample(kept, groups):
    ids = [576 + i for i in range(len(groups))]
    stage = StageTrace(0, kept, groups, ids, [], [], [], len(kept) + len(groups))
    return SampleTrace(576, (24, 24), [stage], [576], [stage.num_left])


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
    return figure_1.measure(get_profile("mini").limited(4), 64)


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


def test_the_interval_surrounds_the_mean_and_closes_on_constants():
    mean, low, high = mean_and_interval(np.array([0.0, 1.0, 1.0, 1.0]))
    assert low < mean == 0.75 < high
    assert mean_and_interval(np.ones((5, 2))).tolist() == [[1, 1]] * 3


@pytest.mark.parametrize("model", ["llava", "mini-qwen2-vl"])
def test_any_model_is_asked_what_is_known_of_its_images(model, tmp_path):
    profile = profile_of(model, tmp_path)
    data = figure_1.measure(profile, 64)
    table, scenes = figure_1.table(data), model.startswith("mini")
    assert table.set_index("method")["same tokens as question 1"][list(figure_1.AGNOSTIC)].all()
    assert {"truth", "focus"} <= set(table) if scenes else not {"truth", "focus"} & set(table)
    assert len(figure_1.summary(data)) == (4 if scenes else 0)
    figure = figure_1.draw(data)
    assert sum(bool(axes.images) for axes in figure.axes) == 7
    written = {text.get_text() for text in figure.texts}
    assert ("(c) tokens left that show\nwhat is asked for" in written) is scenes


def test_questions_of_your_own():
    asked = "what shape is the pink thing ? | what letter is on the brown card ?"
    data = figure_1.measure(get_profile("mini").limited(4), 64, "scene_6", asked)
    assert figure_1.table(data)["question"].nunique() == 2
    assert data.asked["sparsevlm"][0].example.seed == 6
    assert len(figure_1.draw(data).axes) == 1 + 2 * 3 + 1
