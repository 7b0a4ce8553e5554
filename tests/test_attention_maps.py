"""Attention maps: rows are those of the model, sinks and target mass are what they say."""

from __future__ import annotations

from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from other_models import QUICK, profile_of

from sparsevlm.analysis.attention import look
from sparsevlm.analysis.observe import record
from sparsevlm.evaluation.loaded import load_model
from sparsevlm.paper.extras import attention_drawing, attention_maps

matplotlib.use("Agg")
pytestmark = pytest.mark.filterwarnings("ignore:More than 20 figures")


@pytest.fixture(scope="module")
def found():
    return attention_maps.measure(QUICK.limited(4))


def test_rows_are_distributions_over_all_that_was_there(found):
    example = found.maps
    np.testing.assert_allclose(example.rows.sum(-1), 1, atol=1e-5)
    assert example.visual.shape == (8, 4, len(example.words), 576)
    assert example.rows.shape[-1] == example.answer.num_before + 576 + len(example.words)
    # causal: the first word sees no later one
    assert (example.rows[:, :, 0, 1 - len(example.words) :] == 0).all()


def test_the_dense_rows_are_what_the_pruner_saw_before_its_first_stage(found):
    run = record(load_model(QUICK), found.maps.example, 64)
    np.testing.assert_allclose(run.stages[0].rows, found.maps.visual[0], atol=1e-5)
    np.testing.assert_allclose(run.relevance, found.maps.relevance, atol=1e-5)
    assert run.raters == found.maps.raters and run.words == found.maps.words


def test_looking_leaves_the_model_as_it_was(found):
    loaded = load_model(QUICK)
    usual = loaded.model.config._attn_implementation
    seen = look(loaded, found.maps.example)
    assert loaded.model.config._attn_implementation == usual != "eager"
    assert seen.answer.text == "left"


def test_mass_on_the_target():
    maps = np.array([[0.2, 0.2, 0.0, 0.4], [0.0, 0.1, 0.1, 0.0]])
    assert attention_maps.on_target(maps, [1, 3]).tolist() == pytest.approx([0.75, 0.5])


def test_a_sink_is_looked_at_by_many_words_whatever_they_mean():
    rows = np.full((1, 4, 100), 0.01)
    rows[0, :, 7] = 0.2  # from every word
    rows[0, :2, 8] = 0.2  # from half of them
    rows[0, 0, 9] = 0.2  # from one
    assert attention_maps.sinks(rows).tolist() == [7, 8]
    assert attention_maps.sinks(rows[:, 2:]).tolist() == [7]


def test_raters_look_at_the_target_in_the_layers_of_the_first_stages(found):
    frame = attention_maps.table(found)
    on_target = frame["raters: on the target"]
    assert (on_target[:2] > 5 * 100 * found.area.mean()).all()
    assert found.mass.shape == (4, 8, 3)
    assert len(frame) == 8 and (frame["on sinks"][frame["sinks"] == 0] == 0).all()


def test_a_row_per_stage_shows_what_the_method_saw_and_did(found):
    stages, run = found.stages, found.stages.run
    frame = attention_maps.stage_table(stages)
    assert stages.chosen == run.raters == found.maps.raters
    np.testing.assert_allclose(stages.rating(0), run.breakdowns[0].scores, atol=1e-6)
    assert frame["tokens after"].tolist() == [stage.num_left for stage in run.sample.stages]
    assert frame["on the target"][0] == pytest.approx(
        100 * stages.rating(0)[list(run.target)].sum() / stages.rating(0).sum(), abs=0.05
    )
    for number, stage in enumerate(run.sample.stages):
        lost, merged = attention_maps.lost_patches(stages, number), {*()}.union(*stage.groups)
        kept = frame["kept of the target"][number]
        assert kept + len(lost) + len(merged & {*run.target}) == len(run.target)
    figure = attention_drawing.draw_stages(stages)
    texts = [text.get_text() for text in figure.texts]
    assert "after layer 3" in texts and "7 kept, 1 merged, 4 dropped" in texts
    assert "attention of: green, hourglass" in texts
    assert "left ✓" in [text.get_text() for axes in figure.axes for text in axes.texts]
    figure = attention_drawing.draw_stages(stages, with_answer=False)
    assert not [text for axes in figure.axes for text in axes.texts if "✓" in text.get_text()]


@pytest.mark.parametrize(
    "how, layers, who",
    [
        ({"method": "fastv"}, [0], [":"]), ({"method": "tome"}, [-1], ["green", "hourglass"]),
        ({"method": "pdrop"}, [0, 1, 3], [":"]), ({"method": "random", "layers": [2]}, [2], None),
        ({"method": "dense"}, [0, 1, 3], ["green", "hourglass"]),
        ({"method": "sparsevlm-plus", "layers": [1, 5], "words": "Side"}, [1, 5], ["side"]),
    ],
)  # fmt: skip
def test_any_method_word_and_layer(how, layers, who):
    data = attention_maps.measure(QUICK.limited(4), **how)
    stages = data.stages
    frame = attention_maps.stage_table(stages).iloc[stages.shown]
    assert frame["after layer"].tolist() == layers
    assert who is None or [stages.run.words[i] for i in stages.chosen] == who
    figure = attention_drawing.draw_stages(data.stages)
    assert sum(bool(axes.images) for axes in figure.axes) == 5 * len(layers)
    if how["method"] == "dense":
        np.testing.assert_allclose(stages.run.stages[1].rows, data.maps.visual[1], atol=1e-5)


def test_without_a_target_the_most_attended_of_the_dropped_are_shown():
    profile = QUICK.limited(4)
    data = attention_maps.measure(profile, image="coffee", question="what color is it ?").stages
    stage, values = data.run.sample.stages[0], data.values(0)
    gone = {*range(576)} - {*stage.kept}.union(*stage.groups)
    lost = attention_maps.lost_patches(data, 0)
    assert {*lost} <= gone and len(lost) == attention_maps.MOST_LOST
    assert min(values[lost]) >= max(values[sorted(gone - {*lost})])


def test_a_word_stands_for_all_its_pieces(found):
    answer = replace(found.maps.answer, words=("Hour", "glass", "is", "glass", "?"))
    maps = replace(found.maps, answer=answer)
    assert maps.positions("hourglass") == [0, 1] and maps.positions("is glass") == [1, 2, 3]
    with pytest.raises(ValueError, match="no word 'our' in the text; known: Hour, glass"):
        maps.positions("our")


def test_the_curves_are_those_of_the_table(found):
    (axes,) = attention_drawing.draw_layers(found).axes
    drawn = {line.get_label(): line.get_ydata() for line in axes.lines}
    frame = attention_maps.table(found)
    for who in attention_maps.WHO:
        np.testing.assert_allclose(drawn[who], frame[f"{who}: on the target"], atol=0.06)


@pytest.mark.parametrize("model", ["llava", "mini-gemini"])
def test_any_model_has_its_maps(model, tmp_path):
    data = attention_maps.measure(profile_of(model, tmp_path), layers=[0, 5])
    scenes, maps = model.startswith("mini"), data.maps
    np.testing.assert_allclose(maps.rows.sum(-1), 1, atol=1e-4)
    assert data.image_mass.shape == (4, len(maps.rows), 3) and bool(len(data.mass)) is scenes
    assert ("raters: on the target" in attention_maps.table(data)) is scenes
    assert ("on the target" in attention_maps.stage_table(data.stages)) is scenes
    figure = attention_drawing.draw_stages(data.stages)
    assert sum(bool(axes.images) for axes in figure.axes) == 5 * 2
    (axes,) = attention_drawing.draw_layers(data).axes
    assert ("target" in axes.get_ylabel()) is scenes


@pytest.mark.parametrize(
    "layers, message",
    [
        (list(range(9)), "room for 8 layers, got 9"), ([7], "layer 7 is the last one.*0 to 6"),
        ([8], "layers must be from 0 to 7"),
    ],
)  # fmt: skip
def test_layers_that_cannot_be_shown_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        attention_maps.measure(QUICK.limited(4), layers=layers)
