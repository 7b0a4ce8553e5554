"""Properties that hold for any input: recycling, selection, layout, budgets, rank."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsevlm as sv
from sparsevlm.core.interface import Groups, Selection
from sparsevlm.core.recycling import MEAN_EPSILON, merge, reconstruct, select_top
from sparsevlm.core.schedule import PruningStage, recycled_counts, tokens_per_layer
from sparsevlm.core.sparsevlm import OPTIONS
from sparsevlm.core.sparsity import numerical_rank
from sparsevlm.runtime.adapter import Picture
from sparsevlm.runtime.generation import arrange, locate
from sparsevlm.runtime.layout import apply
from sparsevlm.runtime.segments import pad_left

few = settings(derandomize=True, deadline=None, database=None, max_examples=25)
many = settings(derandomize=True, deadline=None, database=None, max_examples=100)
seeds = st.integers(0, 2**31 - 1)


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- Recycling ------------------------------------------------------------------------------------


@many
@given(
    seeds, st.integers(1, 200), st.integers(1, 16), st.sampled_from(OPTIONS["assignment"]),
    st.sampled_from(OPTIONS["ties"]), st.booleans(),
)  # fmt: skip
def test_recycling_shares_the_tokens_out(seed, dropped, hidden, assignment, ties, alike):
    number, num_groups = recycled_counts(dropped)
    tokens = noise(seed, number, hidden)
    if alike:
        tokens = tokens[torch.arange(number) % 2]  # many tokens at the very same place
    vectors, groups, centers = reconstruct(tokens, num_groups, "mean", assignment, ties)
    sizes = torch.bincount(groups, minlength=num_groups)
    assert groups.shape == (number,) and sizes.shape == (num_groups,)
    assert (sizes > 0).all(), "an empty group"
    assert len(set(centers.tolist())) == num_groups
    assert groups[centers].tolist() == list(range(num_groups))
    # Means lie among their members, and weighted with their sizes they sum to all of them.
    for index in range(num_groups):
        members = tokens[groups == index] * (sizes[index] / (sizes[index] + MEAN_EPSILON))
        assert (vectors[index] >= members.amin(0) - 1e-4).all()
        assert (vectors[index] <= members.amax(0) + 1e-4).all()
    weighted = (vectors * (sizes + MEAN_EPSILON)[:, None]).sum(0)
    torch.testing.assert_close(weighted, tokens.sum(0), rtol=1e-4, atol=1e-3)
    total = merge(tokens, groups, num_groups, "sum").sum(0)
    torch.testing.assert_close(total, tokens.sum(0), rtol=1e-4, atol=1e-3)


@many
@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.data())
def test_the_top_is_the_top(values, data):
    """Also with many equal scores, of which the earlier ones win."""
    scores = torch.tensor(values, dtype=torch.float32)
    num_kept = data.draw(st.integers(0, len(values)))
    num_recycled = data.draw(st.integers(0, len(values) - num_kept))
    keep, recycled = select_top(scores, num_kept, num_recycled)
    best = sorted(range(len(values)), key=lambda index: (-values[index], index))
    assert keep.tolist() == sorted(best[:num_kept])
    assert recycled.tolist() == best[num_kept : num_kept + num_recycled]


# --- Layout ---------------------------------------------------------------------------------------

parts = st.tuples(st.integers(0, 5), st.integers(0, 12), st.integers(1, 6))
batches = st.lists(parts, min_size=1, max_size=4)


def laid_out(rows):
    """Masks and hidden states whose value is the column of a token."""
    length = max(map(sum, rows))
    visual = torch.zeros(len(rows), length, dtype=torch.bool)
    mask = torch.zeros(len(rows), length, dtype=torch.int64)
    for index, (before, count, text) in enumerate(rows):
        start = length - before - count - text
        mask[index, start:] = 1
        visual[index, start + before : start + before + count] = True
    hidden = torch.arange(length).expand(len(rows), -1)[..., None].float()
    return visual, mask, hidden


def layouts(visual, mask):
    extents = locate(visual, mask)
    pictures = [[Picture(stop - start) for start, stop in extent.runs] for extent in extents]
    return arrange(extents, pictures, visual, visual.shape[1])


@many
@given(batches)
def test_every_part_of_a_row_is_found(rows):
    visual, mask, _ = laid_out(rows)
    length = visual.shape[1]
    for sample, (before, count, text) in zip(layouts(visual, mask), rows, strict=True):
        found = [(image.before, image.visual) for image in sample.images]
        assert found == ([(before, count)] if count else [])
        assert sample.text == (text if count else before + text)
        assert sample.slots.tolist() == list(range(length - before - count - text, length))


@many
@given(batches, seeds, st.booleans())
def test_only_what_is_dropped_is_lost(rows, seed, anchored):
    """Three stages with merging after each other; text and survivors keep their order."""
    visual, mask, hidden = laid_out(rows)
    generator = torch.Generator().manual_seed(seed)
    length, pieces = visual.shape[1], []
    for index, sample in enumerate(layouts(visual, mask)):
        row, kept = hidden[index, length - sample.tokens :], visual[index].nonzero().flatten()
        text = [i for i in range(length - sample.tokens, length) if not visual[index, i]]
        for _ in range(3):
            if not sample.images:
                continue
            (image,) = sample.images
            order = torch.randperm(image.visual, generator=generator)
            keep = order[: 1 + int(order[0]) % image.visual].sort().values
            rest = order[len(keep) :]
            selection = Selection(keep)
            if len(rest):
                anchors = rest[:1] if anchored else None
                merged = Groups(rest, torch.zeros_like(rest))
                selection = Selection(keep, merged, torch.full((1, 1), -5.0), anchors)
            slots = sample.slots[sample.columns(0)]
            kept = slots[keep][slots[keep] >= 0]
            created = 1 if len(rest) else 0
            expected = image.before + len(keep) + created + sample.text
            sample, row = apply(sample, row, [selection])
            assert sample.tokens == len(row) == len(sample.slots) == expected
        known = row[:, 0] >= 0
        # What is still itself has its own value, so hidden states and slots moved alike.
        assert torch.equal(row[known, 0].long(), sample.slots[known])
        slots = [slot for slot in sample.slots.tolist() if slot >= 0]
        assert slots == sorted(set(slots))
        assert set(text) <= set(slots)
        assert set(kept.tolist()) <= set(slots)
        assert all(len(image.source) == image.visual for image in sample.images)
        pieces.append(row)
    padded = pad_left([piece[None] for piece in pieces])
    for index, piece in enumerate(pieces):
        assert torch.equal(padded[index, padded.shape[1] - len(piece) :], piece)
        assert not padded[index, : padded.shape[1] - len(piece)].any()


# --- Budgets --------------------------------------------------------------------------------------

SOLVED = ("sparsevlm", "sparsevlm-plus", "fastv", "pdrop", "tome", "random", "uniform")
depths, images, shares = st.integers(12, 80), st.integers(64, 4096), st.floats(0, 1)


def how(name, pruner):
    """Options of `tokens_per_layer` for a method."""
    return {
        "recycle": getattr(pruner, "recycle", 0), "counted_layer": pruner.counted_layer,
        "always_drop": getattr(pruner, "always_drop", False),
    }  # fmt: skip


def spent(pruner, name, num_layers, num_visual):
    tokens_in, tokens_out = tokens_per_layer(
        pruner.stages, num_layers, num_visual, **how(name, pruner)
    )
    assert all(i >= o >= 1 for i, o in zip(tokens_in, tokens_out, strict=True))
    return tokens_in, tokens_out


def reachable(name, num_layers, num_visual):
    """Fewest and most that the stages of a method can leave: one token each, and all."""
    middle = sv.make_pruner(
        name, tokens=num_visual // 2, num_layers=num_layers, num_visual=num_visual
    )
    ends = []
    for keep in (1, num_visual):
        stages = [PruningStage(stage.layer, keep) for stage in middle.stages]
        left = tokens_per_layer(stages, num_layers, num_visual, **how(name, middle))[1]
        ends.append(sum(left) / num_layers)
    return ends


@few
@given(depths, images, shares)
@pytest.mark.parametrize("name", SOLVED)
def test_a_budget_is_met_or_refused_with_reason(name, num_layers, num_visual, share):
    tokens = max(1, round(share * num_visual))
    fewest, most = reachable(name, num_layers, num_visual)
    try:
        pruner = sv.make_pruner(name, tokens=tokens, num_layers=num_layers, num_visual=num_visual)
    except ValueError as refusal:
        assert "impossible" in str(refusal)
        assert "reach" in str(refusal) or "leave at least" in str(refusal)
        if name == "pdrop":
            fewest = float(str(refusal).rsplit(" ", 1)[1])
            assert fewest == pytest.approx(fewest_of_pdrop(num_layers, num_visual), abs=0.05)
        assert tokens < fewest - 0.9 or tokens > most + 0.9, "it could have been met"
        return
    left = spent(pruner, name, num_layers, num_visual)[1]
    assert abs(sum(left) / num_layers - tokens) <= 1


def fewest_of_pdrop(num_layers, num_visual):
    """One token from the first stage on, which is layer 2 of 32; counted at the entry."""
    first = 2 * num_layers // 32
    full = max(first, 1)
    if first == 0:
        full = 0  # moved behind layer 0, and counted as SparseVLM counts
    return (full * num_visual + num_layers - full) / num_layers


@few
@given(depths, images, st.integers(1, 95), st.integers(1, 5))
@pytest.mark.parametrize("name", SOLVED)
def test_a_larger_budget_never_leaves_fewer_in_total(name, num_layers, num_visual, percent, more):
    totals = []
    for part in (percent, percent + more):
        tokens = max(1, part * num_visual // 100)
        try:
            pruner = sv.make_pruner(
                name, tokens=tokens, num_layers=num_layers, num_visual=num_visual
            )
        except ValueError:
            return
        totals.append(sum(spent(pruner, name, num_layers, num_visual)[1]))
    assert totals[0] <= totals[1]


# --- Rank -----------------------------------------------------------------------------------------


@many
@given(seeds, st.integers(1, 12), st.integers(1, 60), st.integers(0, 12), st.floats(-7, 7))
def test_the_rank_is_that_of_torch(seed, raters, visual, rank, spread):
    """Products of thin factors whose singular values are spread over decades."""
    weights = 10 ** torch.linspace(0, spread, max(rank, 1)).double()
    left, right = noise(seed, raters, rank).double(), noise(seed + 1, rank, visual).double()
    matrix = ((left * weights[:rank]) @ right).float()
    tolerance = max(raters, visual) * torch.finfo(torch.float32).eps
    singular = torch.linalg.svdvals(matrix.double())
    near = (singular / singular.max().clamp_min(1e-30) / tolerance).log().abs() < 0.01
    if near.any():
        return  # within one percent of the threshold the last bits decide
    want = torch.linalg.matrix_rank(matrix.double(), rtol=tolerance)
    assert numerical_rank(matrix) == int(want)
