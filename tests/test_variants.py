"""The five named variants: what each is made of, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from golden_data import arrays, cases
from test_pruners import context

import sparsevlm as sv
from sparsevlm.core.budget import OFFICIAL_KEEP, PLUS_KEEP
from sparsevlm.core.recycling import select_top
from sparsevlm.core.scoring import mean_over_heads, score
from sparsevlm.core.sparsity import num_kept, numerical_rank
from sparsevlm.core.variants import VARIANTS

LISTS = cases("functions")["topk_lists"]


def build(variant, tokens, num_layers=32, num_visual=576, **options):
    return VARIANTS[variant](tokens, num_layers, num_visual, **options)


def parts(pruner):
    names = (
        "raters",
        "sparsity_mode",
        "merge",
        "assignment",
        "positions",
        "recycle",
        "gravity",
        "heads",
    )
    return tuple(getattr(pruner, name) for name in names)


@pytest.mark.parametrize(
    ("variant", "tokens", "layers", "made_of"),
    [
        (
            "paper",
            192,
            [2, 6, 15],
            ("at_least_mean", "rank", "sum", "cosine", "renumbered", 0.3, False, None),
        ),
        (
            "v1.0",
            192,
            [2, 6, 15, 19],
            ("above_mean", "scaled_rank", "mean", "l2", "renumbered", 0.3, False, None),
        ),
        (
            "v1.5",
            192,
            [2, 6, 15],
            ("above_mean", "fixed", "mean", "l2", "renumbered", 0.3, False, None),
        ),
        (
            "video",
            None,
            [1],
            ("above_mean", "scaled_rank", "mean", "l2", "renumbered", 0.3, False, None),
        ),
        ("plus", 192, [2, 6, 15], ("above_mean", "fixed", "mean", "l2", "original", 0.0, True, 14)),
    ],
)
def test_what_a_variant_is_made_of(variant, tokens, layers, made_of):
    pruner = build(variant, tokens)
    assert (pruner.variant, parts(pruner)) == (variant, made_of)
    assert [stage.layer for stage in pruner.stages] == layers


def test_official_lists():
    for tokens, keep in LISTS["main_mode_1_0"].items():
        assert OFFICIAL_KEEP[int(tokens)] == tuple(keep)
        assert [stage.keep for stage in build("v1.5", int(tokens)).stages] == keep
    for tokens, keep in LISTS["main_mode_2_0"].items():
        assert PLUS_KEEP[int(tokens)] == tuple(keep)
        assert [stage.keep for stage in build("plus", int(tokens)).stages] == keep
    assert LISTS["v15"].items() <= LISTS["main_mode_1_0"].items()


@pytest.mark.parametrize("case", [c for c in cases("functions") if c.startswith("rank_")])
def test_official_kept_by_rank(case):
    info, gold = cases("functions")[case], arrays("functions", case)
    rating = mean_over_heads(gold["rel"])
    scale, bias = (info["scale"], info["bias"]) if "v10" in case else (1.0, 0.0)
    kept = num_kept(info["n_vis"], numerical_rank(rating), scale, bias)
    assert kept == info["n_kept"]
    assert torch.equal(select_top(score(rating), kept, 0)[0], gold["kept"])


def test_settings_of_v10():
    settings = {t: (build("v1.0", t).scale, build("v1.0", t).bias) for t in (192, 128, 64)}
    assert settings == {192: (13.5, 0), 128: (9, 6), 64: (0.8, 0)}
    half = build("v1.0", 128, num_layers=16, num_visual=288)
    assert (half.scale, half.bias) == (4.5, 3)
    assert [stage.layer for stage in half.stages] == [1, 3, 7, 9]
    free = build("v1.0", None, scale=5, bias=2, layers=(4,))
    assert (free.scale, free.bias, free.stages) == (5, 2, (sv.PruningStage(4),))
    with pytest.raises(ValueError, match="192, 128, 64 tokens, got 100; .* tokens=None and scale="):
        build("v1.0", 100)


def test_settings_of_video():
    assert build("video", 194).stages == (sv.PruningStage(2),)
    assert build("video", 135).stages == build("video", None).stages == (sv.PruningStage(1),)
    assert build("video", None, layers=(0,)).stages == (sv.PruningStage(0),)
    with pytest.raises(ValueError, match="135, 194 tokens, got 100"):
        build("video", 100)


def test_level_by_rank_at_a_cut():
    pruner = sv.SparseVLM(
        (sv.PruningStage(2),), sparsity_mode="scaled_rank", scale=2, bias=1, raters="all_text"
    )
    assert len(pruner.select(context()).keep) == 3 * 2 + 1  # three raters
    nothing = sv.SparseVLM(
        (sv.PruningStage(2),), sparsity_mode="scaled_rank", scale=0.3, raters="all_text"
    )
    selection = nothing.select(context())
    assert len(selection.keep) == 0 and len(selection.vectors) == 1, "only recycled tokens stay"
    full = context(count=3, num_visual=3)
    assert pruner.select(full).keep.tolist() == [0, 1, 2], "full rank: the stage is skipped"
    for scale in (None, -1):
        with pytest.raises(ValueError, match="needs scale"):
            sv.SparseVLM((sv.PruningStage(2),), sparsity_mode="scaled_rank", scale=scale)


def test_heads_and_gravity_change_the_scores():
    def select(**options):
        table = torch.arange(20)[:, None] * torch.tensor([[1.0, 0.1, 1.0, 0.1]])
        seen = context()
        seen = type(seen)(
            **{
                **vars(seen),
                "rotary_visual": (table.cos(), table.sin()),
                "rotary_text": ((table[:3] + 9).cos(), (table[:3] + 9).sin()),
            }
        )
        return (
            sv.SparseVLM((sv.PruningStage(2, 8),), raters="all_text", **options).select(seen).scores
        )

    plain, one, corrected = select(), select(heads=1), select(gravity=True)
    rows = context().attention_rows(torch.arange(3))
    torch.testing.assert_close(one, rows[rows.sum((1, 2)).argmax()].mean(0))
    assert not torch.equal(plain, one) and not torch.equal(plain, corrected)
    with pytest.raises(ValueError, match="this model has 2"):
        select(heads=14)
    for heads in (0, 1.5, True):
        with pytest.raises(ValueError, match="heads must be"):
            select(heads=heads)


def test_whether_a_cut_always_drops():
    few = context(count=6, num_visual=6)
    official = sv.SparseVLM((sv.PruningStage(2, 8),), raters="all_text").select(few)
    assert len(official.keep) == 5 and len(official.vectors) == 1
    kind = sv.SparseVLM((sv.PruningStage(2, 8),), raters="all_text", always_drop=False).select(few)
    assert kind.keep.tolist() == list(range(6)) and kind.vectors is None
