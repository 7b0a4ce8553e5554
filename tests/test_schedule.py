from __future__ import annotations

import pytest

from sparsevlm.core.budget import OFFICIAL_KEEP, scale_layers, schedule_for
from sparsevlm.core.schedule import (
    PruningStage,
    check_stages,
    mean_tokens_in,
    mean_tokens_out,
    recycled_counts,
    tokens_per_layer,
)


@pytest.mark.parametrize(
    ("tokens", "out", "entering"),
    [(192, 192.031, 206.5), (128, 128.625, 145.406), (96, 96.938, 114.094), (64, 64.812, 82.25)],
)
def test_official_accounting(tokens, out, entering):
    stages = schedule_for(tokens)
    assert stages == tuple(map(PruningStage, (2, 6, 15), OFFICIAL_KEEP[tokens]))
    assert mean_tokens_out(stages, 32, 576) == pytest.approx(out, abs=1e-3)
    assert mean_tokens_in(stages, 32, 576) == pytest.approx(entering, abs=1e-3)


def test_official_recycling_counts():
    # Lists of v1.5: merged tokens after each stage.
    for keep, merged in (
        ((300, 200, 110), (9, 4, 3)),
        ((303, 110, 36), (9, 7, 3)),
        ((66, 30, 17), (16, 2, 1)),
    ):
        current = 576
        for kept, groups in zip(keep, merged, strict=True):
            assert recycled_counts(current - kept)[1] == groups
            current = kept + groups
    assert recycled_counts(276) == (83, 9)
    assert recycled_counts(1) == (1, 1)
    assert recycled_counts(0) == recycled_counts(100, 0) == (0, 0)


def test_thirteen_billion_with_the_official_lists():
    for tokens, out in ((192, 176.2), (128, 110.7), (64, 55.5)):
        stages = schedule_for(tokens)
        assert mean_tokens_out(stages, 40, 576) == pytest.approx(out, abs=0.06)


def test_without_recycling_the_lists_alone():
    for tokens, out in ((192, 188.19), (128, 123.94), (64, 61.72)):
        assert mean_tokens_out(schedule_for(tokens), 32, 576, recycle=0) == pytest.approx(
            out, abs=0.01
        )


def test_scaled_layers():
    assert scale_layers((2, 6, 15), 32) == (2, 6, 15)
    assert scale_layers((2, 6, 15), 8) == (0, 1, 3)
    assert scale_layers((2, 6, 15), 16) == (1, 3, 7)
    assert scale_layers((2, 6, 15), 40) == (2, 7, 18)
    assert scale_layers((2, 6, 15), 4) == (0, 1), "layers that fall together are kept once"


@pytest.mark.parametrize("num_layers", [3, 8, 16, 28, 32, 40])
@pytest.mark.parametrize("num_visual", [64, 576, 2048])
@pytest.mark.parametrize("recycle", [0.3, 0])
@pytest.mark.parametrize("share", [1 / 3, 2 / 9, 1 / 9, 0.5, 0.9, 1])
def test_any_budget_within_one_token(num_layers, num_visual, recycle, share):
    tokens = round(num_visual * share)
    try:
        stages = schedule_for(tokens, num_layers, num_visual, recycle=recycle)
    except ValueError as error:
        reached = float(str(error).split("they reach ")[1].split(" ")[0])
        assert reached > tokens, error
        return
    assert abs(mean_tokens_out(stages, num_layers, num_visual, recycle=recycle) - tokens) <= 1
    keep = [stage.keep for stage in stages]
    assert keep == sorted(keep, reverse=True) and min(keep) >= 1


def test_every_budget_of_the_miniature():
    impossible = []
    for tokens in range(1, 577):
        try:
            stages = schedule_for(tokens, 8, 576)
        except ValueError:
            impossible.append(tokens)
            continue
        assert abs(mean_tokens_out(stages, 8, 576) - tokens) <= 1
    assert impossible == [] or max(impossible) < 10


def test_the_shape_is_the_official_one():
    ours = [stage.keep for stage in schedule_for(200)]
    assert ours == pytest.approx([310, 209, 119], abs=10)
    ours = [stage.keep for stage in schedule_for(192, recycle=0)]
    assert ours == pytest.approx([304, 204, 114], abs=3)


def test_given_layers():
    (stage,) = schedule_for(192, layers=[2], recycle=0)
    assert stage == PruningStage(2, 166), "(2 * 576 + 30 x) / 32 = 192"
    stages = schedule_for(192, layers=[1, 4, 9, 20])
    assert [c.layer for c in stages] == [1, 4, 9, 20]
    assert abs(mean_tokens_out(stages, 32, 576) - 192) <= 1


@pytest.mark.parametrize("tokens", [0, -1, 577, 64.0, 64.5, True, "64", None])
def test_bad_budgets(tokens):
    with pytest.raises(ValueError, match="integer from 1 to 576"):
        schedule_for(tokens)


@pytest.mark.parametrize("how", [{"num_layers": 0}, {"num_visual": 0}, {"num_layers": True}])
def test_bad_models(how):
    with pytest.raises(ValueError, match="integer of at least 1"):
        schedule_for(1, **how)


def test_impossible_budgets_say_what_is_possible():
    with pytest.raises(ValueError, match=r"impossible with stages after layers \[15\].*reach 280"):
        schedule_for(64, layers=[15])


@pytest.mark.parametrize("layers", [[32], [31], [2, 99]])
def test_layers_outside_the_model(layers):
    with pytest.raises(ValueError, match="outside the model"):
        schedule_for(192, layers=layers)


def test_bad_layers():
    with pytest.raises(ValueError, match="ascending"):
        schedule_for(192, layers=[6, 2])
    with pytest.raises(ValueError, match="at least one layer"):
        schedule_for(192, layers=[])
    with pytest.raises(ValueError, match="layer"):
        schedule_for(192, layers=[-2])


@pytest.mark.parametrize("arguments", [(-2, 5), (1.0, 5), (True, 5), (1, 0), (1, 2.5), (1, True)])
def test_bad_cuts(arguments):
    with pytest.raises(ValueError, match="must be an integer"):
        PruningStage(*arguments)


def test_cuts_must_shrink():
    with pytest.raises(ValueError, match="later stage cannot keep more"):
        check_stages([PruningStage(1, 5), PruningStage(2, 6)])


def test_whose_layer_the_cut_is():
    entering, leaving = tokens_per_layer([PruningStage(1, 10)], 4, 100, 0)
    assert (entering, leaving) == ([100, 100, 10, 10], [100, 10, 10, 10])
    entering, leaving = tokens_per_layer([PruningStage(1, 10)], 4, 100, 0, "next")
    assert entering == leaving == [100, 100, 10, 10]
    entering, leaving = tokens_per_layer([PruningStage(-1, 10)], 2, 100, 0, "next")
    assert entering == leaving == [10, 10]


def test_fewer_tokens_than_the_counts():
    # The official clamp: with recycling at least one token is dropped, and comes back merged.
    assert tokens_per_layer([PruningStage(2, 300)], 4, 100)[1] == [100] * 4
    assert tokens_per_layer([PruningStage(2, 300)], 4, 100, 0)[1] == [100] * 4
