from __future__ import annotations

import pytest
import torch
from test_pruners import context

import sparsevlm as sv
from sparsevlm.core.interface import PruningContext
from sparsevlm.core.schedule import mean_tokens_out
from sparsevlm.methods.pooled import cell_labels, coarse_grid
from sparsevlm.methods.pyramiddrop import PyramidDrop, geometric
from sparsevlm.methods.tome import merge_to
from sparsevlm.methods.uniform import spread_rank

BUDGETED = [name for name in sv.METHODS if name != "dense" and sv.METHODS[name].meets_budget]
FIXED = [name for name in BUDGETED if name != "sparsevlm-paper"]


def spent(pruner, num_layers, num_visual=576):
    recycle = getattr(pruner, "recycle", 0)
    return mean_tokens_out(
        pruner.stages,
        num_layers,
        num_visual,
        recycle=recycle,
        counted_layer=pruner.counted_layer,
        always_drop=getattr(pruner, "always_drop", False),
    )


@pytest.mark.parametrize("num_layers", [8, 16, 32, 40])
@pytest.mark.parametrize("tokens", [192, 128, 64])
@pytest.mark.parametrize("name", FIXED)
def test_budget_within_one_token(name, tokens, num_layers):
    pruner = sv.make_pruner(name, tokens=tokens, num_layers=num_layers, num_visual=576)
    assert abs(spent(pruner, num_layers) - tokens) <= 1


@pytest.mark.parametrize("name", FIXED)
def test_many_budgets(name):
    for tokens in range(40, 577, 13):
        pruner = sv.make_pruner(name, tokens=tokens, num_layers=8, num_visual=576)
        assert abs(spent(pruner, 8) - tokens) <= 1, tokens


def test_published_accounting_of_the_baselines():
    def stages(name, tokens):
        pruner = sv.make_pruner(name, tokens=tokens, num_layers=32, num_visual=576)
        return [(stage.layer, stage.keep) for stage in pruner.stages]

    # FastV: (2 * 576 + 30 x) / 32.
    assert [stages("fastv", t) for t in (192, 128, 64)] == [[(2, 166)], [(2, 98)], [(2, 30)]]
    # PyramidDrop: rates .253, .42 and .19 before layers 8, 16, 24 and 2, 8, 16.
    for tokens, layers, rate in (
        (192, (8, 16, 24), 0.253),
        (128, (2, 8, 16), 0.42),
        (64, (2, 8, 16), 0.19),
    ):
        want = [(stage.layer, stage.keep) for stage in geometric(layers, rate, 576)]
        for (layer, keep), (want_layer, want_keep) in zip(
            stages("pdrop", tokens), want, strict=True
        ):
            assert layer == want_layer and keep == pytest.approx(want_keep, abs=3)
    assert stages("tome", 192) == [(-1, 192)]
    # DART: (2 * 576 + 30 x) / 32 enter a layer; one layer fewer leaves them all.
    assert [stages("dart", t) for t in (192, 128, 64)] == [[(1, 180)], [(1, 114)], [(1, 47)]]
    for name in ("divprune", "visionzip", "cdpruner", "holov", "vispruner"):
        assert stages(name, 64) == [(-1, 64)]


def test_scaled_baselines():
    pdrop = sv.make_pruner("pdrop", tokens=192, num_layers=8, num_visual=576)
    assert [stage.layer for stage in pdrop.stages] == [1, 3, 5], "before layers 2, 4, 6 of 8"
    early = sv.make_pruner("pdrop", tokens=64, num_layers=8, num_visual=576)
    assert [stage.layer for stage in early.stages] == [0, 1, 3], "never before layer 0"
    assert (pdrop.counted_layer, early.counted_layer) == ("this", "this")
    deep = sv.make_pruner("pdrop", tokens=64, num_layers=32, num_visual=576)
    assert deep.counted_layer == "next"
    fastv = sv.make_pruner("fastv", tokens=192, num_layers=8, num_visual=576)
    assert [stage.layer for stage in fastv.stages] == [0]


def test_geometric_counts_are_the_official_ones():
    assert [stage.keep for stage in geometric((4, 8, 12), 0.5, 576)] == [288, 144, 72]
    assert [stage.keep for stage in geometric((4, 8, 12), 0.001, 576)] == [1, 1, 1]


def test_impossible_budgets():
    with pytest.raises(ValueError, match="impossible for PyramidDrop with 32 layers.*least 36.9"):
        PyramidDrop.for_budget(20, 32, 576)
    with pytest.raises(ValueError, match="impossible with stages after layers"):
        sv.make_pruner("fastv", tokens=20, num_layers=32, num_visual=576)


@pytest.mark.parametrize("name", BUDGETED)
@pytest.mark.parametrize("tokens", [0, -4, 577, 64.5, True, None])
def test_bad_budgets(name, tokens):
    with pytest.raises(ValueError, match="integer from 1 to 576"):
        sv.make_pruner(name, tokens=tokens, num_layers=32, num_visual=576)


def test_bad_names_and_options():
    shape = {"num_layers": 32, "num_visual": 576}
    with pytest.raises(ValueError, match="unknown method 'fastvlm'; known: dense, sparsevlm"):
        sv.make_pruner("fastvlm", tokens=192, **shape)
    with pytest.raises(ValueError, match="fastv has no option seed; its options: layers"):
        sv.make_pruner("fastv", tokens=192, seed=1, **shape)
    with pytest.raises(ValueError, match="sparsevlm has no option rater; .*raters"):
        sv.make_pruner("sparsevlm", tokens=192, rater="all_text", **shape)
    with pytest.raises(ValueError, match="dense model has no budget"):
        sv.make_pruner("dense", tokens=192, **shape)


def test_the_paper_variant():
    shape = {"tokens": 192, "num_layers": 32, "num_visual": 576}
    paper = sv.make_pruner("sparsevlm-paper", **shape)
    assert (paper.raters, paper.sparsity_mode, paper.merge) == ("at_least_mean", "rank", "sum")
    assert (paper.assignment, paper.variant, paper.tokens) == ("cosine", "paper", 192)
    assert paper.stages == (sv.PruningStage(2), sv.PruningStage(6), sv.PruningStage(15))
    ablated = sv.make_pruner("sparsevlm-paper", recycle=0, positions="original", **shape)
    assert (ablated.recycle, ablated.positions) == (0, "original")


def test_recycling_off_keeps_the_budget():
    pruner = sv.make_pruner("sparsevlm", tokens=192, num_layers=32, num_visual=576, recycle=0)
    assert abs(spent(pruner, 32) - 192) <= 1


def random_keep(layer=2, seed=0, key=7, count=20):
    shown = context(layer=layer, count=count)
    object.__setattr__(shown, "prompt_key", lambda: key)
    stages = (sv.PruningStage(2, 8), sv.PruningStage(6, 8))
    pruner = sv.METHODS["random"].build(200, 32, 576, stages=stages, seed=seed)
    return pruner.select(shown).keep.tolist()


def test_random_draws():
    assert random_keep() == random_keep()
    others = [random_keep(layer=6), random_keep(seed=1), random_keep(key=8)]
    assert all(other != random_keep() for other in others)
    # Every token is kept about equally often: 8 of 20, over 500 prompts.
    counts = torch.zeros(20)
    for key in range(500):
        counts[random_keep(key=key)] += 1
    assert (counts / 500 - 0.4).abs().max() < 0.09


def test_uniform_spreads_over_the_grid():
    rank = torch.tensor(spread_rank(24, 24)).view(24, 24)
    assert sorted(rank.flatten().tolist()) == list(range(576))
    for count in (36, 64, 144, 300):
        kept = rank < count
        quarters = [kept[r : r + 12, c : c + 12].sum().item() for r in (0, 12) for c in (0, 12)]
        assert max(quarters) - min(quarters) <= 0.15 * count
        # No dropped cell is far from a kept one.
        places = kept.nonzero().double()
        cells = torch.ones(24, 24).nonzero().double()
        assert torch.cdist(cells, places).min(1).values.max() <= 1.7 * (576 / count) ** 0.5


def test_uniform_is_nested():
    shown = context(count=20, num_visual=20)
    object.__setattr__(shown, "grid", (4, 5))
    stages = (sv.PruningStage(2, 8), sv.PruningStage(6, 3))
    pruner = sv.METHODS["uniform"].build(200, 32, 576, stages=stages)
    first = pruner.select(shown).keep
    again = context(layer=6, count=8, num_visual=20)
    object.__setattr__(again, "source", first)
    object.__setattr__(again, "grid", (4, 5))
    rank = torch.tensor(spread_rank(4, 5))
    assert sorted(rank[first].tolist()) == list(range(8))
    assert sorted(rank[first[pruner.select(again).keep]].tolist()) == [0, 1, 2]


def test_tome_merges_to_any_count():
    tokens = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    for remaining in (50, 49, 30, 25, 7, 1):
        vectors, sizes, anchors, labels = merge_to(tokens, remaining)
        assert vectors.shape == (remaining, 8) and sizes.sum() == 50
        assert anchors.tolist() == sorted(set(anchors.tolist()))
        assert labels[anchors].tolist() == list(range(remaining)), "the anchor is in its group"
        for row in range(remaining):
            members = labels == row
            assert sizes[row] == members.sum()
            torch.testing.assert_close(vectors[row], tokens[members].mean(0), rtol=1e-4, atol=1e-5)


def test_tome_merges_the_similar_ones():
    directions = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
    tokens = directions.repeat_interleave(4, 0)
    tokens = tokens + 0.01 * torch.randn(20, 16, generator=torch.Generator().manual_seed(2))
    labels = merge_to(tokens, 5)[3]
    assert labels.tolist() == [i for i in range(5) for _ in range(4)]


def test_tome_selection():
    pruner = sv.METHODS["tome"].build(12, 10, 20)
    shown = context(layer=-1)
    selection = pruner.select(shown)
    assert len(selection.keep) == 0 and len(selection.vectors) == 12
    assert selection.groups.members.tolist() == list(range(20))
    alone = selection.groups.labels.bincount() == 1
    assert torch.equal(selection.groups.alone, alone) and 0 < alone.sum() < 12
    assert torch.equal(selection.vectors[alone], shown.visual[selection.anchors[alone]])
    for row, vector in enumerate(selection.vectors):
        members = selection.groups.members[selection.groups.labels == row]
        assert selection.anchors[row] in members
        torch.testing.assert_close(vector, shown.visual[members].mean(0), rtol=1e-4, atol=1e-5)
    everything = sv.METHODS["tome"].build(20, 10, 20).select(shown)
    assert everything.vectors is None and everything.keep.tolist() == list(range(20))


def pooled_view(grid, num_visual):
    visual = torch.randn(num_visual, 6, generator=torch.Generator().manual_seed(0))
    return PruningContext(
        layer=-1, num_layers=4, visual=visual, text=torch.zeros(2, 6),
        source=torch.arange(num_visual), num_visual=num_visual, grid=grid, inputs_visual=visual,
        inputs_text=torch.zeros(2, 6), attention_rows=None, prompt_key=lambda: 0,
        rotary_visual=None, rotary_text=None, attention_mean=None,
    )  # fmt: skip


def test_pooling_takes_the_mean_of_every_cell_of_the_coarse_grid():
    shown = pooled_view((4, 6), 24)
    selection = sv.METHODS["pooled"].build(6, 4, 24).select(shown)
    expected = shown.visual.view(2, 2, 3, 2, 6).mean((1, 3)).flatten(0, 1)
    torch.testing.assert_close(selection.vectors, expected)
    assert selection.anchors.tolist() == [0, 2, 4, 12, 14, 16] and not selection.keep.numel()


def test_pooling_to_every_token_changes_none():
    shown = pooled_view((4, 6), 24)
    selection = sv.METHODS["pooled"].build(24, 4, 24).select(shown)
    assert torch.equal(selection.vectors, shown.visual)
    assert selection.anchors.tolist() == list(range(24))


def test_frames_share_the_budget_and_class_tokens_lie_in_no_cell():
    labels = cell_labels((3, 2, 2), 15, 13)  # four cells for each of three frames, and no more
    assert [labels[i] for i in (0, 5, 10)] == [-1, -1, -1]
    assert sorted(set(labels)) == list(range(-1, 12))
    shared = cell_labels((3, 2, 2), 15, 8)
    assert [len(set(shared[i + 1 : i + 5])) for i in (0, 5, 10)] == [2, 3, 3]
    with pytest.raises(ValueError, match="3 frames cannot be pooled to 2 tokens"):
        cell_labels((3, 2, 2), 15, 2)


@pytest.mark.parametrize(
    ("size", "tokens", "coarse"),
    [((24, 24), 192, (16,) * 12), ((24, 24), 64, (8,) * 8), ((36, 36), 500, (25,) * 20),
     ((24, 24), 193, (13, *[14] * 3, 13, *[14] * 4, 13, *[14] * 4)),
     ((1, 9), 4, (4,)), ((9, 1), 4, (1,) * 4)],
)  # fmt: skip
def test_the_coarse_grid_is_nearly_square(size, tokens, coarse):
    found = coarse_grid(*size, tokens)
    assert (found, sum(found)) == (coarse, tokens)


@pytest.mark.parametrize(("grid", "num_visual"), [((24, 24), 576), ((1, 144), 144), ((7, 5), 35),
                                                  ((3, 4, 4), 51)])  # fmt: skip
def test_pooling_wastes_no_token(grid, num_visual):
    frames = 1 if len(grid) == 2 else grid[0]
    cells = num_visual - (frames if len(grid) == 3 else 0)
    for tokens in range(frames, cells + 1):
        labels = set(cell_labels(grid, num_visual, tokens)) - {-1}
        assert labels == set(range(tokens)), tokens
