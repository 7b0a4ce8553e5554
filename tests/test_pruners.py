from __future__ import annotations

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import sparsevlm as sv
from sparsevlm.core.interface import PruningContext
from sparsevlm.models.sizes import ModelSizes

STAGES = (sv.PruningStage(2, 8), sv.PruningStage(6, 4))


def context(layer=2, count=20, raters=3, num_visual=20, cache=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.rand(2, raters, count, generator=generator)
    hidden = torch.randn(count, 16, generator=generator)
    text = torch.randn(raters, 16, generator=generator)
    return PruningContext(
        layer=layer,
        num_layers=10,
        visual=hidden,
        text=text,
        source=torch.arange(count),
        num_visual=num_visual,
        grid=None,
        inputs_visual=hidden,
        inputs_text=text,
        attention_rows=lambda chosen: rows[:, chosen],
        prompt_key=lambda: 7,
        rotary_visual=None,
        rotary_text=None,
        attention_mean=None,
        cache={} if cache is None else cache,
    )


def test_v15_is_the_default():
    pruner = sv.SparseVLM(STAGES)
    assert (pruner.raters, pruner.sparsity_mode, pruner.recycle) == ("above_mean", "fixed", 0.3)
    assert (pruner.merge, pruner.assignment, pruner.positions) == ("mean", "l2", "renumbered")
    assert pruner.variant == "v1.5"
    assert [layer for layer in range(10) if pruner.prunes_after(layer)] == [2, 6]


def test_selection_of_v15():
    selection = sv.SparseVLM(STAGES, raters="all_text").select(context())
    rows = context().attention_rows(torch.arange(3))
    scores = rows.mean((0, 1))
    torch.testing.assert_close(selection.scores, scores)
    order = scores.argsort(descending=True)
    assert selection.keep.tolist() == sorted(order[:8].tolist())
    # 12 dropped: int(12 * .3) + 1 = 4 recycled into int(4 / 10) + 1 = 1 group, their mean.
    assert set(selection.groups.members.tolist()) == set(order[8:12].tolist())
    mean = context().visual[order[8:12]].mean(0, keepdim=True)
    torch.testing.assert_close(selection.vectors, mean, rtol=1e-5, atol=1e-6)
    assert selection.anchors is None and selection.raters.tolist() == [0, 1, 2]


def test_sum_and_original_positions():
    pruner = sv.SparseVLM(STAGES, raters="all_text", merge="sum", positions="original")
    selection = pruner.select(context())
    members = selection.groups.members
    torch.testing.assert_close(selection.vectors[0], context().visual[members].sum(0))
    assert selection.anchors.item() in members.tolist()


def test_no_recycling():
    selection = sv.SparseVLM(STAGES, recycle=0).select(context())
    assert selection.groups is None and selection.vectors is None and len(selection.keep) == 8


def test_raters_are_chosen_once_per_prompt():
    cache = {}
    first = sv.SparseVLM(STAGES).select(context(cache=cache)).raters
    later = sv.SparseVLM(STAGES).select(context(layer=6, cache=cache, seed=5)).raters
    assert later is first


def test_rank_mode_with_a_given_lam():
    pruner = sv.SparseVLM(
        (sv.PruningStage(2),), raters="all_text", sparsity_mode="rank", lam=0.5, recycle=0
    )
    # Three independent rows: rank 3, N = int(.5 * (20 - 3)) = 8.
    assert len(pruner.select(context()).keep) == 12
    # More raters than tokens left: the rank is all of them and the layer is skipped.
    few = pruner.select(context(count=3, raters=5))
    assert few.keep.tolist() == [0, 1, 2] and few.groups is None


def test_one_text_token_rates_alone():
    # Deviation: the official code has no rater then, and NaN scores.
    selection = sv.SparseVLM(STAGES).select(context(raters=1))
    assert selection.raters.tolist() == [0] and selection.scores.isfinite().all()


def test_json_is_canonical_and_complete():
    pruner = sv.make_pruner("sparsevlm", tokens=192, num_layers=32, num_visual=576)
    content = pruner.to_json()
    assert json.loads(json.dumps(content)) == content
    assert content["name"] == "sparsevlm" and content["variant"] == "v1.5"
    assert content["stages"] == [[2, 300], [6, 200], [15, 110]]
    fields = {f.name for f in dataclasses.fields(pruner)}
    assert set(content) == fields | {"name"}
    assert replace(pruner, recycle=0.0).to_json() != content
    assert hash(pruner) == hash(replace(pruner))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"raters": "loud"}, "raters must be one of above_mean"),
        ({"sparsity_mode": "deep"}, "sparsity_mode must be one of fixed, rank"),
        ({"merge": "max"}, "merge must be one of mean, sum"),
        ({"assignment": "l1"}, "assignment must be one of l2, cosine"),
        ({"positions": "random"}, "positions must be one of renumbered, original"),
        ({"ties": "coin"}, "ties must be one of index, strict"),
        ({"recycle": 1.0}, "recycle must be a share"),
        ({"recycle": -0.1}, "recycle must be a share"),
        ({"recycle": True}, "recycle must be a share"),
        ({"recycle": "0.3"}, "recycle must be a share"),
        ({"heads": 2.0}, "heads must be an integer of at least 1, got 2.0"),
        ({"heads": np.True_}, "heads must be an integer"),
        ({"tokens": 64.5}, "tokens must be an integer"),
        ({"lam": True, "sparsity_mode": "rank"}, "lam must be a number, got True"),
        ({"bias": "6"}, "bias must be a number"),
        ({"bias": float("inf")}, "bias must be a number, got inf"),
        ({"scale": np.float64("nan"), "sparsity_mode": "scaled_rank"}, "scale must be a number"),
        ({"gravity": 1}, "gravity must be True or False"),
        ({"always_drop": "no"}, "always_drop must be True or False"),
        ({"sparsity_mode": "rank"}, "needs lam .* or tokens"),
        ({"sparsity_mode": "rank", "lam": 0}, "lam must be above 0"),
        ({"sparsity_mode": "rank", "lam": 1.5}, "lam must be above 0"),
        ({"stages": (sv.PruningStage(2),)}, "needs a keep count"),
        ({"stages": (sv.PruningStage(6, 3), sv.PruningStage(2, 3))}, "ascending"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        sv.SparseVLM(**{"stages": STAGES, **options})


class Count:
    """An integer of a library that nobody knows."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


NUMBERS = {
    "int64": np.int64, "uint16": np.uint16, "array": np.array, "tensor": torch.tensor,
    "index": Count,
}  # fmt: skip
SIZES = {"num_layers": 32, "num_visual": 576}
BUDGETS = {"dense": None, "sparsevlm-v1.0": 64, "sparsevlm-video": 135}


def written(pruner) -> str:
    return json.dumps(pruner.to_json())


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("name", sv.METHODS)
def test_counts_may_be_integers_of_any_library(name, kind):
    number, tokens = NUMBERS[kind], BUDGETS.get(name, 192)
    how = {"layers": [2, 6, 15]} if "layers" in sv.METHODS[name].options else {}
    how |= {option: 2 for option in ("seed", "heads") if option in sv.METHODS[name].options}
    if name == "sparsevlm-all-tokens":
        del how["heads"]
    plain = sv.make_pruner(name, tokens=tokens, **SIZES, **how)
    given = {key: number(value) for key, value in SIZES.items()}
    given |= {key: [*map(number, value)] if key == "layers" else number(value)
              for key, value in how.items()}  # fmt: skip
    found = sv.make_pruner(name, tokens=None if tokens is None else number(tokens), **given)
    assert found == plain and written(found) == written(plain)
    own = getattr(found, "inner", found)
    assert {type(value) for value in vars(own).values()} <= {tuple, str, int, float, bool,
                                                              type(None)}  # fmt: skip
    assert all(type(stage.layer) is int for stage in found.stages)


def test_stages_and_schedules_of_numpy_are_plain():
    stage = sv.PruningStage(np.int32(2), np.int64(8))
    assert (type(stage.layer), type(stage.keep)) == (int, int) and stage == STAGES[0]
    assert sv.schedule_for(np.int64(192), layers=np.array([2, 6])) == sv.schedule_for(
        192, layers=[2, 6]
    )
    counts = sv.tokens_per_layer([stage], np.int64(4), np.int64(20))
    assert json.dumps(counts) == "[[20, 20, 20, 9], [20, 20, 9, 9]]"
    sizes = ModelSizes(np.int64(32), np.int64(64), np.int64(128), np.int64(4))
    assert sizes == ModelSizes(32, 64, 128, 4) and type(sizes.head_dim) is int


def test_numbers_of_numpy_make_equal_ids():
    given = {"recycle": np.float64(0.25), "gravity": np.True_, "heads": np.int8(2)}
    plain = sv.SparseVLM(STAGES, recycle=0.25, gravity=True, heads=2)
    assert written(sv.SparseVLM(STAGES, **given)) == written(plain)
    assert written(sv.SparseVLM(STAGES, recycle=0)) == written(sv.SparseVLM(STAGES, recycle=0.0))


@pytest.mark.parametrize(
    "value", [True, np.True_, torch.tensor(True), 64.0, np.float64(64), "64", [64], np.array([64])]
)
def test_what_is_no_integer_is_refused_by_name(value):
    for name in ("sparsevlm", "random", "pdrop", "tome", "fastv", "sparsevlm-plus"):
        with pytest.raises(ValueError, match=r"tokens \(the budget.*must be an integer from 1"):
            sv.make_pruner(name, tokens=value, **SIZES)
    for name in ("sparsevlm-v1.0", "sparsevlm-video"):
        with pytest.raises(ValueError, match="has settings for .* tokens, got"):
            sv.make_pruner(name, tokens=value, **SIZES)
    for name in ("uniform", *BUDGETS):
        for size in SIZES:
            with pytest.raises(ValueError, match=f"{size} must be an integer of at least 1"):
                sv.make_pruner(name, tokens=BUDGETS.get(name, 64), **{**SIZES, size: value})
    with pytest.raises(ValueError, match="a layer to prune after must be an integer"):
        sv.make_pruner("fastv", tokens=192, **SIZES, layers=[value])
    with pytest.raises(ValueError, match=r"layers must be a sequence such as \(2, 6, 15\), got 2"):
        sv.make_pruner("sparsevlm", tokens=192, **SIZES, layers=2)
    with pytest.raises(ValueError, match="seed must be an integer"):
        sv.make_pruner("random", tokens=192, **SIZES, seed=value)
    with pytest.raises(ValueError, match="heads must be an integer"):
        sv.make_pruner("sparsevlm-plus", tokens=192, **SIZES, heads=value)


def test_pruners_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        sv.SparseVLM(STAGES).recycle = 0.5


def test_all_tokens_rate_without_rows_of_raters():
    shown = replace(context(), attention_mean=lambda: torch.arange(20.0))
    selection = sv.SparseVLM(STAGES, raters="all_tokens").select(shown)
    assert selection.keep.tolist() == list(range(12, 20)) and selection.raters is None


@pytest.mark.parametrize(
    "options", [{"sparsity_mode": "rank", "tokens": 8}, {"gravity": True}, {"heads": 2}]
)
def test_all_tokens_go_with_fixed_counts_only(options):
    with pytest.raises(ValueError, match="all_tokens.*no rows of raters"):
        sv.SparseVLM(STAGES, raters="all_tokens", **options)
