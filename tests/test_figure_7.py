"""Figure 7: both measures of redundancy are what they say, and deletion really deletes."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from sparsevlm.analysis import ask
from sparsevlm.paper.figures import figure_7, figure_7_drawing

matplotlib.use("Agg")


@pytest.mark.parametrize(
    ("weights", "held", "expected"),
    [
        ([0.1, 0.6, 0.3], 0.9, [1, 2]),
        ([0.1, 0.6, 0.3], 0.91, [1, 2, 0]),
        ([5, 5, 5, 5], 0.5, [0, 1]),  # weights need not sum to 1
        ([1, 0, 0], 0.9, [0]),
    ],
)
def test_holders_are_the_fewest_that_hold_the_share(weights, held, expected):
    assert figure_7.holders(np.array(weights, float), held).tolist() == expected


def test_entropy_is_one_for_even_and_zero_for_a_single_token():
    assert figure_7.entropy(np.full(7, 3.0)) == pytest.approx(1)
    assert figure_7.entropy(np.array([0.0, 2.0, 0.0])) == 0
    assert figure_7.entropy(np.array([0.5, 0.5, 0, 0])) == pytest.approx(0.5)


@pytest.mark.parametrize("number", [0, 1])
def test_kept_patches_are_all_that_the_model_gets(number):
    seed, question = 4, "what color is the ring ?"
    target = ask.target_of(seed, question)
    patches = [target, [i for i in range(576) if i not in target]][number]
    sample = ask.traced("mini", seed, question, figure_7.Patches.of(np.array(patches)[::-1]))
    assert sample.stages[0].kept == sorted(patches)
    assert sample.tokens_in[-1] == len(patches)


@pytest.fixture(scope="module")
def found():
    return figure_7.measure("mini", 2)


def test_attention_is_divided_into_image_and_question(found):
    for one in found:
        assert one.image.shape == (576,) and len(one.words) == len(one.question.split())
        assert one.image.sum() == pytest.approx(1) and one.words.sum() == pytest.approx(1)
        assert 0 < sum(one.mass) < 1  # the rest goes to the template


def test_deletion_has_an_outcome_for_every_share(found):
    for one in found:
        assert list(one.same) == list(figure_7.ORDERS)
        assert all(len(one.same[o]) == len(figure_7.deleted(o)) for o in figure_7.ORDERS)


def test_background_goes_first_and_the_target_last(monkeypatch):
    kept, seed, question = [], 4, "what color is the ring ?"

    def record(profile, scene_seed, asked, pruner):
        kept.append((asked, getattr(pruner, "patches", None)))
        return ""

    seen = figure_7.look("mini", seed, question)
    monkeypatch.setattr(figure_7.ask, "first_word", record)
    objects = ask.scene_of(seed).patch_objects.reshape(-1) >= 0
    figure_7._after_deletion("mini", seen, objects, ask.target_of(seed, question))
    content = [set(patches) for _, patches in kept[: len(figure_7.deleted(figure_7.ORDERS[0]))]]
    assert [len(patches) for patches in content] == [288, 144, 72, 36]
    assert all(set(ask.target_of(seed, question)) <= patches for patches in content)
    assert set(np.flatnonzero(objects)) <= content[0]
    asked = [words for words, patches in kept if patches is None]
    assert [len(words.split()) for words in asked] == [4, 3, 2]  # of six, in their order
    assert all(_is_part(words.split(), question.split()) for words in asked)


def _is_part(some, words):
    rest = iter(words)
    return all(word in rest for word in some)


def test_the_figure_and_the_summary(found):
    summary = figure_7.summary(found)
    assert summary["mean"].between(0, 100).all()
    figure = figure_7_drawing.draw(found)
    (lines,) = (axes for axes in figure.axes if axes.get_legend())
    drawn = {line.get_label(): line for line in lines.lines}
    assert list(drawn) == list(figure_7.ORDERS)
    for order in figure_7.ORDERS:
        gone = figure_7.deleted(order)
        rows = [f"same answer, {order}, {100 * share:g} % gone" for share in gone]
        means = summary.loc[rows, "mean"].tolist()
        assert drawn[order].get_ydata().tolist() == pytest.approx([100, *means], abs=0.06)
