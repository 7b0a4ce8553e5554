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
n x n root and an n x n division are saved. See DEVIATIONS.md.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparsevlm.core.interface import phase

# The official mean divides by (size + 1e-6), so a group of one is scaled by 1 / (1 + 1e-6).
MEAN_EPSILON = 1e-6


def select_top(
    scores: Float[Tensor, "num_visual"], num_kept: int, num_recycled: int
) -> tuple[Int[Tensor, "num_kept"], Int[Tensor, "num_recycled"]]:
    """Indices of the kept tokens and of the best dropped ones.

    Parameters
    ----------
    scores
        ``[num_visual]``, higher = keep.
    num_kept, num_recycled
        How many of each.

    Returns
    -------
    keep, recycled
        Two int64 tensors: the kept ones ascending, the recycled ones best first. Of equal scores
        the lower index comes first.
    """
    order = scores.argsort(descending=True, stable=True)
    keep = order[:num_kept].sort().values
    return keep, order[num_kept : num_kept + num_recycled]


def squared_distance(tokens: Float[Tensor, "n hidden"]) -> Float[Tensor, "n n"]:
    """Squared Euclidean distances, ``[n, n]`` float32, of tokens ``[n, hidden]``."""
    tokens = tokens.float()
    # Centered first: the distances stay and the cancellation in |a|^2 + |b|^2 - 2ab shrinks.
    centered = tokens - tokens.mean(dim=0)
    products = centered @ centered.T
    squares = products.diagonal()
    # Products of both orders, so that mutual neighbors tie exactly and not by the rounding of a
    # BLAS; on the diagonal that leaves exactly 0.
    return (squares[:, None] + squares).sub_(products + products.T).clamp_min_(0)


def knn_density(squared: Float[Tensor, "n n"], neighbors: int, hidden: int) -> Float[Tensor, "n"]:
    """exp(-mean squared distance to the nearest tokens / hidden), ``[n]``.

    Parameters
    ----------
    squared
        ``[n, n]`` of `squared_distance`.
    neighbors
        How many count as the nearest, the token itself included.
    hidden
        Size of the tokens: the official distances are divided by its root.
    """
    nearest = squared.topk(neighbors, dim=1, largest=False).values
    return nearest.mean(dim=1).mul_(-1 / hidden).exp_()


def density_peaks(
    squared: Float[Tensor, "n n"],
    density: Float[Tensor, "n"],
    num_groups: int,
    ties: str = "index",
) -> Int[Tensor, "num_groups"]:
    """Centers: the tokens with the highest density x distance to a denser token.

    Parameters
    ----------
    squared
        ``[n, n]`` of `squared_distance`.
    density
        ``[n]``.
    num_groups
        Number of centers.
    ties
        Of two equal densities, ``"index"``: the lower index (the better score) is the denser one,
        in place of the official noise; ``"strict"``: neither is (the official code with its noise
        set to 0).

    Returns
    -------
    Tensor
        ``[num_groups]`` indices, best first.
    """
    if ties == "index":
        # The place in a stable order settles ties by the index.
        place = density.argsort(descending=True, stable=True).argsort()
        denser = place < place[:, None]
    else:
        denser = density > density[:, None]
    # Where none is denser: the largest distance of all.
    to_denser = torch.where(denser, squared, squared.amax()).amin(dim=1).sqrt_()
    return to_denser.mul_(density).topk(num_groups).indices


def assign(
    tokens: Float[Tensor, "n hidden"],
    squared: Float[Tensor, "n n"],
    centers: Int[Tensor, "num_groups"],
    by: str = "l2",
) -> Int[Tensor, "n"]:
    """Group of every token, ``[n]`` int64: the nearest centre; centers are in their own group.

    Parameters
    ----------
    tokens
        ``[n, hidden]``.
    squared
        ``[n, n]`` of `squared_distance`.
    centers
        ``[num_groups]``.
    by
        ``"l2"`` (official code) or ``"cosine"`` (paper).
    """
    if by == "cosine":
        unit = torch.nn.functional.normalize(tokens.float(), dim=1)
        groups = (unit @ unit[centers].T).argmax(dim=1)
    else:
        groups = squared.index_select(1, centers).argmin(dim=1)
    return groups.scatter(0, centers, torch.arange(len(centers), device=tokens.device))


def merge(
    tokens: Float[Tensor, "n hidden"], groups: Int[Tensor, "n"], num_groups: int, how: str = "mean"
) -> Float[Tensor, "num_groups hidden"]:
    """One vector per group, ``[num_groups, hidden]``: the mean (official) or sum (paper)."""
    membership = groups == torch.arange(num_groups, device=tokens.device)[:, None]
    membership = membership.float()
    total = membership @ tokens.float()
    if how == "mean":
        total /= membership.sum(dim=1, keepdim=True).add_(MEAN_EPSILON)
    return total.to(tokens.dtype)


def _merge_all(tokens: Tensor, how: str) -> Tensor:
    """`merge` where all tokens are in one group, ``[1, hidden]``."""
    total = tokens.new_ones(1, len(tokens), dtype=torch.float32) @ tokens.float()
    if how == "mean":
        total /= len(tokens) + MEAN_EPSILON
    return total.to(tokens.dtype)


@phase("clustering")
def reconstruct(
    tokens: Float[Tensor, "n hidden"],
    num_groups: int,
    merge_by: str = "mean",
    assign_by: str = "l2",
    ties: str = "index",
    needs_centers: bool = True,
) -> tuple[Float[Tensor, "num_groups hidden"], Int[Tensor, "n"], Int[Tensor, "num_groups"] | None]:
    """Cluster recycled tokens by density peaks and merge every group.

    Parameters
    ----------
    tokens
        Hidden states of the recycled tokens, ``[n, hidden]``.
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
        ``[num_groups, hidden]``, ``[n]`` and ``[num_groups]``; groups in order of their centers.
        The centers are ``None`` where nothing was clustered and they are not needed.
    """
    if num_groups == 1 and not needs_centers:
        groups = torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
        return _merge_all(tokens, merge_by), groups, None
    squared = squared_distance(tokens)
    density = knn_density(squared, num_groups, tokens.shape[1])
    centers = density_peaks(squared, density, num_groups, ties)
    groups = assign(tokens, squared, centers, assign_by)
    return merge(tokens, groups, num_groups, merge_by), groups, centers
