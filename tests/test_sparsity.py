from __future__ import annotations

import pytest
import torch
from golden_data import arrays, cases

from sparsevlm.core.schedule import recycled_counts
from sparsevlm.core.scoring import mean_over_heads
from sparsevlm.core.sparsity import num_dropped, numerical_rank, solve_lam

GOLDEN = [case for case in cases("functions") if case.startswith("rank_")]


@pytest.mark.parametrize("case", GOLDEN)
def test_official_rank(case):
    rel = arrays("functions", case)["rel"]
    assert numerical_rank(mean_over_heads(rel)) == cases("functions")[case]["rank"]


@pytest.mark.parametrize("rank", [1, 2, 5, 12])
@pytest.mark.parametrize("raters", [12, 20])
def test_rank_equals_torch(rank, raters):
    generator = torch.Generator().manual_seed(rank)
    left = torch.rand(raters, rank, generator=generator)
    matrix = left @ torch.rand(rank, 576, generator=generator)
    want = int(torch.linalg.matrix_rank(matrix))
    assert numerical_rank(matrix) == want == rank
    assert numerical_rank(matrix.T) == want


def test_rank_near_the_tolerance_equals_torch():
    generator = torch.Generator().manual_seed(0)
    left = torch.linalg.qr(torch.randn(8, 8, generator=generator).double()).Q
    right = torch.linalg.qr(torch.randn(300, 8, generator=generator).double()).Q
    tolerance = 300 * torch.finfo(torch.float32).eps
    for factor, want in ((1.1, 8), (0.9, 7)):
        values = torch.logspace(0, -3, 7).double()
        values = torch.cat([values, torch.tensor([factor * tolerance]).double()])
        matrix = left * values @ right.T
        assert numerical_rank(matrix) == want
        assert int(torch.linalg.matrix_rank(matrix, rtol=tolerance)) == want


def test_rank_of_nothing():
    assert numerical_rank(torch.zeros(3, 5)) == 0
    assert numerical_rank(torch.zeros(0, 5)) == 0


def test_num_dropped():
    assert num_dropped(576, 6, 1.0) == 570
    assert num_dropped(576, 6, 0.5) == 285
    assert num_dropped(5, 6, 1.0) == 0, "a rank above the tokens left skips the layer"


@pytest.mark.parametrize("rank", [3, 9])
@pytest.mark.parametrize("budget", [192, 128, 64])
def test_lam_spends_the_budget(rank, budget):
    # 32 layers, stages after 2, 6, 15: two full layers, then spans of 4, 9 and 17 layers.
    left = 32 * budget - 2 * 576
    current, spans = 576, [4, 9, 17]
    while spans:
        lam = solve_lam(current, rank, spans, left, 0.3)
        kept = current - num_dropped(current, rank, lam)
        current = kept + recycled_counts(current - kept)[1]
        left -= spans.pop(0) * current
    assert abs(left) / 32 <= 1
