"""Keep the best, and recycle the best of the dropped: select, cluster, reconstruct.

Source
------
Paper, section 3.4; official `utils.py` (`cluster_and_merge`, density peaks with kNN density).

Difference
----------
Equal densities: the official code adds 1e-6 random noise, so its runs do not repeat; here the
token with the higher score counts as denser. Such ties are common: with two neighbors the closest
pair always ties for the top. The distances come from one matrix product instead of an
n x n x hidden broadcast, and stay squared and unscaled: which of two is nearer is the same, and an
n x n root and an n x n division are saved. See DEVIATIONS.md. Of many tokens the matrix is never
held: it is made again, a block of rows at a time, wherever it is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from functools import reduce

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparsevlm.core.interface import phase
from sparsevlm.core.scoring import pick

# The official mean divides by (size + 1e-6), so a group of one is scaled by 1 / (1 + 1e-6).
MEAN_EPSILON = 1e-6
BLOCK = 1 << 20  # entries that are held at once of an n x n matrix of one sample


def select_top(
    scores: Float[Tensor, "*batch num_visual"], num_kept: int, num_recycled: int
) -> tuple[Int[Tensor, "*batch num_kept"], Int[Tensor, "*batch num_recycled"]]:
    """Indices of the kept tokens and of the best dropped ones.

    Parameters
    ----------
    scores
        ``[*batch, num_visual]``, higher = keep.
    num_kept, num_recycled
        How many of each.

    Returns
    -------
    keep, recycled
        Two int64 tensors: the kept ones ascending, the recycled ones best first. Of equal scores
        the lower index comes first.
    """
    order = scores.argsort(dim=-1, descending=True, stable=True)
    keep = order[..., :num_kept].sort(dim=-1).values
    return keep, order[..., num_kept : num_kept + num_recycled]


def squared_distance(tokens: Float[Tensor, "*batch n hidden"]) -> Float[Tensor, "*batch n n"]:
    """Squared Euclidean distances, ``[*batch, n, n]`` float32, of ``[*batch, n, hidden]``."""
    tokens = tokens.float()
    # Centered first: the distances stay and the cancellation in |a|^2 + |b|^2 - 2ab shrinks.
    centered = tokens - tokens.mean(dim=-2, keepdim=True)
    products = centered @ centered.mT
    squares = products.diagonal(dim1=-2, dim2=-1)
    # Products of both orders, so that mutual neighbors tie exactly and not by the rounding of a
    # BLAS; on the diagonal that leaves exactly 0.
    both = products + products.mT
    return (squares[..., None] + squares[..., None, :]).sub_(both).clamp_min_(0)


class DistanceRows:
    """`squared_distance` in blocks of rows, each made when it is its turn.

    Parameters
    ----------
    tokens
        ``[*batch, n, hidden]``.
    size
        Rows of a block.
    """

    def __init__(self, tokens: Tensor, size: int) -> None:
        tokens = tokens.float()
        tokens, self.size = tokens - tokens.mean(dim=-2, keepdim=True), size
        blocks = [block @ block.mT for block in tokens.split(size, dim=-2)]
        squares = torch.cat([block.diagonal(dim1=-2, dim2=-1) for block in blocks], dim=-1)
        self.rows = self.columns = (tokens, squares)

    def __iter__(self) -> Iterator[Tensor]:
        tokens, squares = self.columns
        parts = (self.rows[0].split(self.size, dim=-2), self.rows[1].split(self.size, dim=-1))
        for part, own in zip(*parts, strict=True):
            sums = own[..., None] + squares[..., None, :]
            yield sums.sub_(part @ tokens.mT, alpha=2).clamp_min_(0)

    def to(self, places: Tensor) -> DistanceRows:
        """The same with the columns ``[*batch, k]`` only."""
        some = copy(self)
        tokens, squares = self.rows
        some.columns = pick(tokens, places), squares.gather(-1, places)
        return some


Squared = Float[Tensor, "*batch rows n"] | DistanceRows


def _blocks(squared: Squared) -> Iterable[Tensor]:
    return [squared] if isinstance(squared, Tensor) else squared


def _joined(parts: Sequence[Tensor], dim: int = -1) -> Tensor:
    return torch.cat(parts, dim=dim) if len(parts) > 1 else parts[0]


def knn_density(squared: Squared, neighbors: int, hidden: int) -> Float[Tensor, "*batch n"]:
    """exp(-mean squared distance to the nearest tokens / hidden), ``[*batch, n]``.

    Parameters
    ----------
    squared
        ``[*batch, n, n]`` of `squared_distance`, or its rows.
    neighbors
        How many count as the nearest, the token itself included.
    hidden
        Size of the tokens: the official distances are divided by its root.
    """
    nearest = [rows.topk(neighbors, dim=-1, largest=False).values for rows in _blocks(squared)]
    return _joined([rows.mean(dim=-1) for rows in nearest]).mul_(-1 / hidden).exp_()


def density_peaks(
    squared: Squared, density: Float[Tensor, "*batch n"], num_groups: int, ties: str = "index"
) -> Int[Tensor, "*batch num_groups"]:
    """Centers: the tokens with the highest density x distance to a denser token.

    Parameters
    ----------
    squared
        ``[*batch, n, n]`` of `squared_distance`, or its rows.
    density
        ``[*batch, n]``.
    num_groups
        Number of centers.
    ties
        Of two equal densities, ``"index"``: the lower index (the better score) is the denser one,
        in place of the official noise; ``"strict"``: neither is (the official code with its noise
        set to 0).

    Returns
    -------
    Tensor
        ``[*batch, num_groups]`` indices, best first.
    """
    # The place in a stable order settles ties by the index.
    order = density.argsort(dim=-1, descending=True, stable=True)
    place = order.argsort(dim=-1) if ties == "index" else -density
    nearest, farthest, start = [], [], 0
    for rows in _blocks(squared):
        own = place[..., start : start + rows.shape[-2], None]
        start += rows.shape[-2]
        nearest.append(rows.masked_fill(place[..., None, :] >= own, torch.inf).amin(dim=-1))
        farthest.append(rows.amax(dim=(-2, -1)))
    # Where none is denser: the largest distance of all.
    to_denser = _joined(nearest).minimum(reduce(torch.maximum, farthest)[..., None]).sqrt_()
    return to_denser.mul_(density).topk(num_groups).indices


def assign(
    tokens: Float[Tensor, "*batch n hidden"],
    squared: Squared,
    centers: Int[Tensor, "*batch num_groups"],
    by: str = "l2",
) -> Int[Tensor, "*batch n"]:
    """Group of every token, ``[*batch, n]``: the nearest centre; centers are in their own group.

    Parameters
    ----------
    tokens
        ``[*batch, n, hidden]``.
    squared
        ``[*batch, n, n]`` of `squared_distance`, or its rows.
    centers
        ``[*batch, num_groups]``.
    by
        ``"l2"`` (official code) or ``"cosine"`` (paper).
    """
    if by == "cosine":
        unit = torch.nn.functional.normalize(tokens.float(), dim=-1)
        near = pick(unit, centers).mT
        groups = [(part @ near).argmax(dim=-1) for part in unit.split(_rows_held(unit), dim=-2)]
    elif isinstance(squared, Tensor):
        columns = centers.unsqueeze(-2).expand(*squared.shape[:-1], -1)
        groups = [squared.gather(-1, columns).argmin(dim=-1)]
    else:
        groups = [part.argmin(dim=-1) for part in squared.to(centers)]
    order = torch.arange(centers.shape[-1], device=tokens.device)
    return _joined(groups).scatter(-1, centers, order.expand_as(centers))


def merge(
    tokens: Float[Tensor, "*batch n hidden"],
    groups: Int[Tensor, "*batch n"],
    num_groups: int,
    how: str = "mean",
) -> Float[Tensor, "*batch num_groups hidden"]:
    """One vector per group, ``[*batch, num_groups, hidden]``: mean (official) or sum (paper)."""
    totals, values, held = [], tokens.float(), _rows_held(tokens)
    for first in range(0, num_groups, held):
        labels = torch.arange(first, min(first + held, num_groups), device=tokens.device)
        membership = (groups[..., None, :] == labels[:, None]).float()
        total = membership @ values
        if how == "mean":
            total /= membership.sum(dim=-1, keepdim=True).add_(MEAN_EPSILON)
        totals.append(total.to(tokens.dtype))
    return _joined(totals, dim=-2)


def _merge_all(tokens: Tensor, how: str) -> Tensor:
    """`merge` where all tokens are in one group, ``[*batch, 1, hidden]``."""
    ones = tokens.new_ones(*tokens.shape[:-2], 1, tokens.shape[-2], dtype=torch.float32)
    total = ones @ tokens.float()
    if how == "mean":
        total /= tokens.shape[-2] + MEAN_EPSILON
    return total.to(tokens.dtype)


def _rows_held(tokens: Tensor) -> int:
    """Rows of a block. All about as many: a product of very few rows may sum in another order."""
    count = tokens.shape[-2]
    return -(-count // -(-count * count // BLOCK))


@phase("clustering")
def reconstruct(
    tokens: Float[Tensor, "*batch n hidden"],
    num_groups: int,
    merge_by: str = "mean",
    assign_by: str = "l2",
    ties: str = "index",
    needs_centers: bool = True,
) -> tuple[
    Float[Tensor, "*batch num_groups hidden"],
    Int[Tensor, "*batch n"],
    Int[Tensor, "*batch num_groups"] | None,
]:
    """Cluster recycled tokens by density peaks and merge every group.

    Parameters
    ----------
    tokens
        Hidden states of the recycled tokens, ``[*batch, n, hidden]``.
    num_groups
        Groups to form; also the number of neighbors in the density.
    merge_by
        ``"mean"`` (official code) or ``"sum"`` (paper).
    assign_by
        ``"l2"`` (official code) or ``"cosine"`` (paper).
    ties
        ``"index"`` or ``"strict"``, see `density_peaks`.
    needs_centers
        Whether the caller reads the centers. A single group is known without them.

    Returns
    -------
    vectors, groups, centers
        ``[*batch, num_groups, hidden]``, ``[*batch, n]`` and ``[*batch, num_groups]``; groups in
        order of their centers. The centers are ``None`` where nothing was clustered and they are
        not needed.
    """
    *batch, count, hidden = tokens.shape
    if num_groups == 1 and not needs_centers:
        groups = torch.zeros(*batch, count, dtype=torch.int64, device=tokens.device)
        return _merge_all(tokens, merge_by), groups, None
    held = _rows_held(tokens)
    squared = squared_distance(tokens) if count <= held else DistanceRows(tokens, held)
    density = knn_density(squared, num_groups, hidden)
    centers = density_peaks(squared, density, num_groups, ties)
    groups = assign(tokens, squared, centers, assign_by)
    return merge(tokens, groups, num_groups, merge_by), groups, centers
