"""Sparsification level: how many visual tokens to drop, from the rank of the rating.

Source
------
Paper, section 3.3: N = lambda * (L_v - rank(P)).

Difference
----------
The released v1.5 has fixed counts instead (`schedule.py`); v1.0 *keeps* rank * scale + bias and the
video release keeps rank tokens (`num_kept`).
lambda is given nowhere; here it is an option, or solved for from the budget (DEVIATIONS.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sparsevlm.core.interface import phase
from sparsevlm.core.schedule import recycled_counts


@phase("rank")
def numerical_rank(rating: Float[Tensor, "num_raters num_visual"]) -> int:
    """Numerical rank of a small-by-large matrix, without an SVD of the long side.

    The singular values are the square roots of the eigenvalues of the Gram matrix of the short
    side, in float64. They count when above ``max(shape) * eps(float32) * largest``, the default of
    `torch.linalg.matrix_rank` for float32; the Gram matrix resolves down to about 1e-8 of the
    largest, well below that.

    Parameters
    ----------
    rating
        ``[num_raters, num_visual]``, any floating dtype.

    Returns
    -------
    int
        The rank (the one host synchronisation of the rank-based level).
    """
    if rating.numel() == 0:
        return 0
    matrix = rating.double()
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    singular = torch.linalg.eigvalsh(matrix @ matrix.T).clamp_min(0).sqrt()
    tolerance = max(rating.shape) * torch.finfo(torch.float32).eps * singular[-1]
    return int((singular > tolerance).sum())


def num_dropped(num_current: int, rank: int, lam: float | int) -> int:
    """N = int(lambda * (L_v - rank)), never negative. 0 means that the layer is skipped."""
    return max(0, int(lam * (num_current - rank)))


def num_kept(num_current: int, rank: int, scale: float | int, bias: float | int) -> int:
    """Tokens that the official v1.0 and the video release (scale 1, bias 0) keep at a stage.

    Parameters
    ----------
    num_current, rank
        Visual tokens before the stage, and the rank of their rating.
    scale, bias
        ``--scale`` and ``--bias`` of the official scripts.

    Returns
    -------
    int
        All of them where the rank is full; else ``int(rank * scale + bias)``, at most
        ``num_current - 1``. It may be 0: then only recycled tokens stay.

    Source
    ------
    v1.0 `score.py`, `attn_postprocess_rank`.
    """
    if rank == num_current:
        return num_current
    return max(0, min(int(rank * scale + bias), num_current - 1))


def solve_lam(
    num_current: int,
    rank: int,
    spans: Sequence[int],
    left_to_spend: float | int,
    recycle: float | int,
) -> float:
    """The lambda that spends exactly what is left of the budget.

    The ranks at later stages are not known yet and are taken to equal this one; each stage solves
    again, so the last one spends what is left.

    Parameters
    ----------
    num_current
        Visual tokens before this stage.
    rank
        Rank measured at this stage.
    spans
        For this and every later stage, the number of layers that leave its tokens.
    left_to_spend
        Sum over these layers of the tokens that the budget still allows.
    recycle
        Share of the dropped tokens that is recycled.

    Returns
    -------
    float
        lambda in [0, 1].
    """

    def spent(lam: float | int) -> int:
        total, current = 0, num_current
        for span in spans:
            kept = current - num_dropped(current, rank, lam)
            current = kept + recycled_counts(current - kept, recycle)[1]
            total += span * current
        return total

    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) > left_to_spend else (low, middle)
    return min((low, high), key=lambda lam: abs(spent(lam) - left_to_spend))
