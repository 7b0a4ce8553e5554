"""The tour: its tables are those of the real run and agree with each other."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from other_models import profile_of

from sparsevlm.paper.extras import tour, tour_drawing

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def found():
    return tour.measure("mini", 64)


def test_the_sequence_has_no_gap(found):
    frame = tour.sequence(found)
    assert frame["first position"].tolist()[1:] == (frame["last position"] + 1).tolist()[:-1]
    assert frame["last position"].iloc[1] - frame["first position"].iloc[1] + 1 == 576


def test_words_above_the_mean_rate(found):
    frame = tour.words(found)
    assert frame.loc[frame["rates"], "word"].tolist() == ["green", "hourglass"]
    assert (frame["rates"] == (frame["relevance"] > frame["mean"])).all()


def test_best_patches_are_in_order_and_named(found):
    frame = tour.best_patches(found)
    assert frame["score"].is_monotonic_decreasing
    rated = frame[["P, green", "P, hourglass"]].mean(axis=1)
    np.testing.assert_allclose(rated, frame["score"], rtol=1e-5)
    for token, shown in zip(frame["token"], frame["shows"], strict=True):
        assert (shown == "green hourglass") == (token in found.run.target)


def test_levels_agree_with_the_trace(found):
    frame = tour.levels(found)
    assert (frame["kept"] + frame["into groups"] == frame["tokens after"]).all()
    assert frame["tokens before"].tolist()[1:] == frame["tokens after"].tolist()[:-1]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_peaks_found_again_give_the_groups_of_the_run(found, number):
    frame, traced = tour.peaks(found, number), found.run.sample.stages[number]
    assert frame["centre"].sum() == tour.levels(found).loc[number, "into groups"]
    assert frame.groupby("group")["centre"].sum().eq(1).all()
    if number == 0:  # later groups hold merged tokens too
        groups = [sorted(part) for _, part in frame.groupby("group")["token"]]
        assert groups == traced.groups


def test_centres_have_the_largest_product(found):
    frame = tour.peaks(found)
    product = frame["density"] * frame["to a denser one"]
    assert product[frame["centre"]].min() >= product[~frame["centre"]].max() * (1 - 1e-5)


def test_groups_hold_every_recycled_token_once(found):
    assert tour.group_table(found)["tokens"].sum() == tour.levels(found).loc[0, "recycled"]


def test_positions_end_with_the_text_and_shrink(found):
    frame = tour.positions(found)
    assert frame["length"].tolist()[0] == 3 + 576 + len(found.run.words)
    for row, stage in zip(frame.iloc[1:].itertuples(), found.run.sample.stages, strict=True):
        assert row.length == 3 + stage.num_left + len(found.run.words)
        assert row.text.endswith(f"to {row.length - 1}")


def test_accounting_is_that_of_the_trace(found):
    frame = tour.accounting(found)
    assert frame["tokens in"].tolist()[:-1] == found.run.sample.tokens_in
    assert abs(frame.loc["mean", "tokens out"] - 64) <= 1
    assert frame.loc["layer 0", "operations, % of dense"] == 100
    assert frame.loc["layer 7", "KV cache, %"] == pytest.approx(100 * (29 + 13) / 589, abs=0.06)


def test_answers(found):
    assert tour.answers(found)["answer"].tolist()[0] == tour.ASKED[0].answer


DRAWINGS = {"scores": 4, "groups": 2, "life": 4}


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_drawing_has_its_panels(found, name):
    figure = getattr(tour_drawing, f"draw_{name}")(found)
    assert len(figure.axes) == DRAWINGS[name]


@pytest.mark.parametrize("model", ["llava", "mini-qwen2-vl"])
def test_any_model_is_toured(model, tmp_path):
    data = tour.measure(profile_of(model, tmp_path), 64)
    scenes, sample = model.startswith("mini"), data.run.sample
    rows, columns = data.run.grid
    assert tour.sequence(data).loc[1, "what"] == f"{rows} rows of {columns} patches"
    assert tour.positions(data)["length"].iloc[0] == len(data.run.answer.input_ids)
    assert ("shows" in tour.best_patches(data)) is scenes
    assert ("background" in tour.group_table(data)) is scenes
    assert tour.answers(data)["who"].tolist() == ["truth"] * scenes + ["dense", "pruned"]
    assert tour.levels(data)["tokens after"].iloc[-1] == sample.tokens_out[-1]
    assert tour.accounting(data)["tokens in"].tolist()[:-1] == sample.tokens_in
    assert tour.words(data)["relevance"].sum() == pytest.approx(1, abs=0.01)
    for name, panels in DRAWINGS.items():
        assert len(getattr(tour_drawing, f"draw_{name}")(data).axes) == panels
