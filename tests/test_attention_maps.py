"""Attention maps: rows are those of the model, sinks and target mass are what they say."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from other_models import profile_of

from sparsevlm.analysis.attention import look
from sparsevlm.analysis.observe import record
from sparsevlm.evaluation.loaded import load_model
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.paper.extras import attention_maps

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def found():
    return attention_maps.measure(get_profile("mini").limited(4))


def test_rows_are_distributions_over_all_that_was_there(found):
    example = found.maps
    np.testing.assert_allclose(example.rows.sum(-1), 1, atol=1e-5)
    assert example.visual.shape == (8, 4, len(example.words), 576)
    assert example.rows.shape[-1] == example.answer.num_before + 576 + len(example.words)
    # causal: the first word sees no later one
    assert (example.text[:, :, 0, 1:] == 0).all()


def test_the_dense_rows_are_what_the_pruner_saw_before_its_first_stage(found):
    run = record(load_model(get_profile("mini")), found.maps.example, 64)
    np.testing.assert_allclose(run.stages[0].rows, found.maps.visual[0], atol=1e-5)
    np.testing.assert_allclose(run.relevance, found.maps.relevance, atol=1e-5)
    assert run.raters == found.maps.raters and run.words == found.maps.words


def test_looking_leaves_the_model_as_it_was(found):
    loaded = load_model(get_profile("mini"))
    usual = loaded.model.config._attn_implementation
    seen = look(loaded, found.maps.example)
    assert loaded.model.config._attn_implementation == usual != "eager"
    assert seen.answer.text == "blue"


def test_mass_on_the_target():
    maps = np.array([[0.2, 0.2, 0.0, 0.4], [0.0, 0.1, 0.1, 0.0]])
    assert attention_maps.on_target(maps, [1, 3]).tolist() == pytest.approx([0.75, 0.5])


def test_a_sink_is_looked_at_by_many_words_whatever_they_mean():
    rows = np.full((1, 4, 100), 0.01)
    rows[0, :, 7] = 0.2  # from every word
    rows[0, :2, 8] = 0.2  # from half of them
    rows[0, 0, 9] = 0.2  # from one
    assert attention_maps.sinks(rows).tolist() == [7, 8]
    assert attention_maps.sinks(rows, words=1.0).tolist() == [7]
    assert attention_maps.sinks(rows, factor=30).tolist() == []


def test_raters_look_at_the_target_in_the_layers_of_the_first_cuts(found):
    frame = attention_maps.table(found)
    on_target = frame["raters: on the target"]
    assert (on_target[:2] > 5 * frame["area of the target"][:2]).all()
    assert frame["raters, best head: on the target"].ge(on_target - 0.02).all()
    assert found.mass.shape == (4, 8, 3) and found.best_head.shape == (4, 8)


def test_the_sink_table_has_every_layer(found):
    frame = attention_maps.sink_table(found)
    assert len(frame) == 8 and (frame["for every word"] <= frame["sinks"]).all()


def test_the_maps_have_a_panel_per_layer_and_row(found):
    figure = attention_maps.draw_heads(found)
    maps = [axes for axes in figure.axes if axes.images]
    assert len(maps) == 1 + 8 * (4 + 3)
    shown = np.asarray(maps[1].images[0].get_array())
    raters = found.maps.visual[0, 0, found.maps.raters].mean(0)
    assert shown.shape == (24, 24) and shown.argmax() == raters.argmax()


def test_the_curves_are_those_of_the_table(found):
    (axes,) = attention_maps.draw_layers(found).axes
    drawn = {line.get_label(): line.get_ydata() for line in axes.lines}
    frame = attention_maps.table(found)
    for who in attention_maps.WHO:
        np.testing.assert_allclose(drawn[who], frame[f"{who}: on the target"], atol=0.01)


@pytest.mark.parametrize("model", ["llava", "mini-gemini"])
def test_any_model_has_its_maps(model, tmp_path):
    data = attention_maps.measure(profile_of(model, tmp_path), layers=[0, 5])
    scenes, maps = model.startswith("mini"), data.maps
    np.testing.assert_allclose(maps.rows.sum(-1), 1, atol=1e-4)
    assert data.image_mass.shape == (4, len(maps.rows), 3) and bool(len(data.mass)) is scenes
    assert ("raters: on the target" in attention_maps.table(data)) is scenes
    assert ("on the target" in attention_maps.sink_table(data)) is scenes
    figure = attention_maps.draw_heads(data)
    heads = min(maps.rows.shape[1], attention_maps.MOST_HEADS)
    assert sum(bool(axes.images) for axes in figure.axes) == 1 + 2 * (heads + 3)
    (axes,) = attention_maps.draw_layers(data).axes
    assert ("target" in axes.get_ylabel()) is scenes


def test_a_deep_model_shows_some_layers_and_the_user_chooses():
    profile = get_profile("mini").limited(4).with_model("mini-llava-16")
    data = attention_maps.measure(profile, words="ring")
    assert data.shown == [0, 2, 4, 6, 9, 11, 13, 15]
    assert [data.maps.words[i] for i in data.chosen] == ["ring"]
    with pytest.raises(ValueError, match="room for 8 layers, got 9"):
        attention_maps.measure(profile, layers=list(range(9)))
