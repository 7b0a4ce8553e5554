"""Figure 7: both measures of redundancy are what they say, and deletion really deletes."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from other_models import QUICK, profile_of

from sparsevlm.analysis.attention import look
from sparsevlm.analysis.examples import Scenes
from sparsevlm.analysis.observe import ask_example
from sparsevlm.evaluation.loaded import load_model
from sparsevlm.miniature.registry import get_miniature
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


@pytest.fixture(scope="module")
def loaded():
    return load_model(QUICK)


@pytest.fixture(scope="module")
def ring():
    """A question about the ring of scene 4."""
    scenes = Scenes("", get_miniature("mini-llava"))
    return scenes.ask(scenes.of_image("scene_4")[0], "what color is the ring ?")


@pytest.mark.parametrize("number", [0, 1])
def test_kept_patches_are_all_that_the_model_gets(loaded, ring, number):
    patches = [list(ring.target), [i for i in range(576) if i not in ring.target]][number]
    pruner = figure_7.Patches.of(np.array(patches)[::-1])
    sample = ask_example(loaded, ring, pruner, max_new_tokens=1).sample
    assert sample.stages[0].kept == sorted(patches)
    assert sample.tokens_in[-1] == len(patches)


@pytest.fixture(scope="module")
def found():
    return figure_7.measure(QUICK.limited(4))


def test_attention_is_divided_into_image_and_question(found):
    for one in found.questions:
        assert one.image.shape == (576,) and len(one.words) == len(
            one.asked.example.question.split()
        )
        assert one.image.sum() == pytest.approx(1) and one.words.sum() == pytest.approx(1)
        assert 0 < sum(one.mass) < 1  # the rest goes to the template


def test_deletion_has_an_outcome_for_every_share(found):
    for one in found.questions:
        assert list(one.same) == list(figure_7.ORDERS)
        assert all(len(one.same[o]) == len(figure_7.deleted(o)) for o in figure_7.ORDERS)


def test_background_goes_first_and_the_target_last(loaded, ring, monkeypatch):
    kept = []

    def recording(loaded, example, pruner, max_new_tokens):
        kept.append((example.question, getattr(pruner, "patches", None)))
        return ask_example(loaded, example, pruner, max_new_tokens)

    maps = look(loaded, ring)
    monkeypatch.setattr(figure_7, "ask_example", recording)
    background = ring.scene.patch_objects.reshape(-1) < 0
    figure_7.after_deletion(loaded, maps, background)
    content = [set(patches) for _, patches in kept if patches is not None]
    first = content[: len(figure_7.deleted(figure_7.BACKGROUND_FIRST))]
    assert [len(patches) for patches in first] == [288, 144, 72, 36]
    assert all(set(ring.target) <= patches for patches in first)
    assert set(np.flatnonzero(~background)) <= first[0]
    asked = [words for words, patches in kept if patches is None]
    assert [len(words.split()) for words in asked] == [4, 3, 2]  # of six, in their order
    assert all(_is_part(words.split(), ring.question.split()) for words in asked)


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


def test_findings_are_the_numbers_of_the_summary(found):
    means, text = figure_7.summary(found)["mean"], figure_7.findings(found)
    for name in ("holders, image", "holders, words", "attention on background"):
        assert f"{means[name]:g} %" in text


@pytest.mark.parametrize("model", ["llava", "mini-qwen2-vl"])
def test_any_model_is_measured(model, tmp_path):
    profile = profile_of(model, tmp_path)
    data = figure_7.measure(profile, layers=[0, 2])
    scenes = model.startswith("mini")
    assert len(data.questions) == 4
    for one in data.questions:
        assert len(one.image) == one.asked.sample.num_visual
        assert len(one.words) == len(one.asked.asked)
        assert (figure_7.BACKGROUND_FIRST in one.same) is scenes
    assert ("attention on background" in figure_7.summary(data).index) is scenes
    assert ("background" in figure_7.findings(data)) is scenes
    assert len(figure_7_drawing.draw(data).axes) == 4


def test_own_question_layers_and_words():
    own = {"image": "scene_4", "question": "what color is the ring ?"}
    data = figure_7.measure(QUICK, [1], "ring", **own)
    (one,) = data.questions
    target = list(one.asked.target)
    assert one.image[target].sum() > 10 * len(target) / 576  # the naming word finds the object
    with pytest.raises(ValueError, match="no word 'cat' in the text; known: what, color"):
        figure_7.measure(QUICK, words="cat", **own)
    with pytest.raises(ValueError, match=r"layers must be from 0 to 7, got \[8\]"):
        figure_7.measure(QUICK, layers=[0, 8], **own)
