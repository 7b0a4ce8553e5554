from __future__ import annotations

import pytest
import torch
from golden_data import arrays, cases

from sparsevlm.core import recycling
from sparsevlm.core.interface import Groups, Selection
from sparsevlm.core.schedule import recycled_counts
from sparsevlm.runtime.adapter import Picture
from sparsevlm.runtime.layout import ImageLayout, SampleLayout, apply

CLUSTERS = [case for case in cases("functions") if case.startswith("cluster/")]
SEQUENCES = [case for case in cases("functions") if case.startswith("recycle_")]


@pytest.mark.parametrize("case", CLUSTERS)
def test_official_clusters(case):
    gold, count = arrays("functions", case), cases("functions")[case]["k"]
    x = gold["x"]
    squared = recycling.squared_distance(x)
    density = recycling.knn_density(squared, count, x.shape[1])
    torch.testing.assert_close(density, gold["density"], rtol=0, atol=2e-6)
    if "noise" in gold:
        density = density + gold["noise"].flatten() * 1e-6
    centers = recycling.density_peaks(squared, density, count, ties="strict")
    assert torch.equal(centers, gold["centers"])
    groups = recycling.assign(x, squared, centers)
    assert torch.equal(groups, gold["assign"])
    torch.testing.assert_close(recycling.merge(x, groups, count), gold["out"])


@pytest.mark.parametrize("case", SEQUENCES)
def test_official_sequence(case):
    """[before][kept, in order][merged, in order of centers][text]."""
    info, gold = cases("functions")[case], arrays("functions", case)
    hidden, first, count = gold["hidden"], info["v_start"], info["n_vis"]
    recycled, groups = recycled_counts(count - info["n_kept"])
    assert groups == info["n_merged"]
    keep = gold["kept"]
    if not groups:
        assert info["n_kept"] == count and torch.equal(hidden, gold["out"])
        return
    dropped = gold["score"].index_fill(0, keep, -torch.inf)
    members, _ = dropped.topk(recycled)[::-1]
    vectors, labels, _ = recycling.reconstruct(hidden[first + members], groups, ties="strict")
    text = info["n_text"]
    image = ImageLayout(first, count, first, Picture(count), hidden.device)
    sample = SampleLayout((image,), text, text, 0, hidden.device)
    after, out = apply(sample, hidden, [Selection(keep, Groups(members, labels), vectors)])
    assert after.images[0].visual == info["v_token_num_after"]
    torch.testing.assert_close(out, gold["out"])


def test_distances_are_exactly_symmetric_and_right():
    tokens = torch.randn(40, 64, generator=torch.Generator().manual_seed(1)) + 30
    squared = recycling.squared_distance(tokens)
    assert torch.equal(squared, squared.T)
    assert squared.diagonal().tolist() == [0] * 40
    want = torch.cdist(tokens.double(), tokens.double())
    assert (squared.sqrt() - want).abs().max() < 1e-4


def test_ties_are_what_noise_would_do():
    # Two neighbors: the closest pair ties for the top density. Noise makes one of the two the
    # densest; its twin is then no centre. Without noise both would be.
    tokens = torch.tensor([[0.0], [0.1], [5.0], [5.3], [9.0]])
    squared = recycling.squared_distance(tokens)
    density = recycling.knn_density(squared, 2, 1)
    assert density[0] == density[1] == density.max()
    strict = recycling.density_peaks(squared, density, 2, ties="strict")
    assert sorted(strict.tolist()) == [0, 1]
    ours = set(recycling.density_peaks(squared, density, 2).tolist())
    noisy = [
        set(recycling.density_peaks(squared, density + 1e-6 * torch.eye(5)[winner], 2).tolist())
        for winner in (0, 1)
    ]
    assert ours == noisy[0] and ours != {0, 1} and noisy[1] != {0, 1}


def test_merge_mean_and_sum():
    tokens = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]])
    groups = torch.tensor([0, 0, 1])
    mean = recycling.merge(tokens, groups, 2)
    torch.testing.assert_close(mean, torch.tensor([[2.0, 0.0], [0.0, 5.0]]), rtol=1e-5, atol=0)
    assert mean[1, 1] != 5.0, "the official mean divides by size + 1e-6"
    assert recycling.merge(tokens, groups, 2, "sum").tolist() == [[4.0, 0.0], [0.0, 5.0]]


def test_cosine_assignment_ignores_length():
    tokens = torch.tensor([[1.0, 0.0], [0.0, 1.0], [9.0, 1.0]])
    squared = recycling.squared_distance(tokens)
    centers = torch.tensor([0, 1])
    far = torch.tensor([[1.0, 0.0], [0.0, 4.0], [1.0, 9.0]])
    assert recycling.assign(tokens, squared, centers, "cosine").tolist() == [0, 1, 0]
    squared = recycling.squared_distance(far)
    assert recycling.assign(far, squared, centers, "l2").tolist() == [0, 1, 1]
    near = torch.tensor([[1.0, 0.0], [0.0, 9.0], [0.5, 1.0]])
    squared = recycling.squared_distance(near)
    assert recycling.assign(near, squared, centers, "l2").tolist() == [0, 1, 0]
    assert recycling.assign(near, squared, centers, "cosine").tolist() == [0, 1, 1]


def many_tokens(kind, count=600):
    """At random, in heaps, or most of them twins of others."""
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randn(2, count, 32, generator=generator)
    if kind == "heaps":
        tokens += 4 * tokens[:, torch.arange(count) % 12]
    elif kind == "twins":
        tokens = tokens[:, torch.arange(count) % 90]
    return tokens


@pytest.mark.parametrize("how", [("mean", "l2", "index"), ("sum", "cosine", "strict")], ids=str)
@pytest.mark.parametrize("kind", ["random", "heaps", "twins"])
def test_blocks_of_rows_give_the_groups_of_the_whole_matrix(monkeypatch, kind, how):
    tokens = many_tokens(kind)
    found = []
    for most in (1 << 20, 600 * 128, 600 * 40):
        monkeypatch.setattr(recycling, "BLOCK", most)
        found.append(recycling.reconstruct(tokens, 60, *how))
        for index, one in enumerate(tokens):
            alone = recycling.reconstruct(one, 60, *how)
            for part, row in zip(found[-1], alone, strict=True):
                assert torch.equal(part[index], row), "in a batch as alone"
    whole, *blocks = found
    for vectors, groups, centers in blocks:
        assert torch.equal(groups, whole[1]) and torch.equal(centers, whole[2])
        torch.testing.assert_close(vectors, whole[0])


def test_half_precision_stays_finite():
    tokens = torch.randn(30, 16).half() * 100
    vectors, groups, centers = recycling.reconstruct(tokens, 4)
    assert vectors.dtype == torch.float16 and vectors.isfinite().all()
    assert groups[centers].tolist() == [0, 1, 2, 3]


def test_select_top_orders():
    scores = torch.tensor([0.1, 0.9, 0.5, 0.9, 0.2])
    keep, recycled = recycling.select_top(scores, 2, 2)
    assert keep.tolist() == [1, 3] and recycled.tolist() == [2, 4]


def test_a_centre_stays_in_its_own_group():
    twins = torch.zeros(2, 3)
    squared, centers = recycling.squared_distance(twins), torch.tensor([0, 1])
    assert recycling.assign(twins, squared, centers).tolist() == [0, 1]
    assert recycling.assign(twins + 1, squared, centers, "cosine").tolist() == [0, 1]
