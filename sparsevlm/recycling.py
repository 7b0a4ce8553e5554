"""Keep the best, and recycle the best of the dropped: select, cluster, reconstruct.

Source
------
Paper, section 3.4; official `utils.py` (`cluster_and_merge`, density peaks with kNN density).

Difference
----------
Equal densities: the official code adds 1e-6 random noise, so its runs do not repeat; here the
token with the higher score counts as denser. Such ties are common: with two neighbours the closest
pair always ties for the top. The distances come from one matrix product instead of an
n x n x hidden broadcast. See DEVIATIONS.md.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparsevlm.timing import stage

MERGES = ("mean", "sum")
ASSIGNMENTS = ("l2", "cosine")
TIES = ("index", "strict")
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


def pairwise_distance(tokens: Float[Tensor, "n hidden"]) -> Float[Tensor, "n n"]:
    """Euclidean distances over sqrt(hidden), ``[n, n]``, of tokens ``[n, hidden]``."""
    # Centred first: the distances stay and the cancellation in |a|^2 + |b|^2 - 2ab shrinks.
    centred = tokens.float() - tokens.float().mean(dim=0)
    squared = centred.square().sum(dim=1)
    distance2 = (squared[:, None] + squared).sub_(centred @ centred.T, alpha=2)
    # Exactly symmetric, so that mutual neighbours tie exactly and not by the rounding of a BLAS.
    distance2 = (distance2 + distance2.T).div_(2)
    distance2.fill_diagonal_(0)
    return distance2.clamp_min_(0).sqrt_().div_(tokens.shape[1] ** 0.5)


def knn_density(distance: Float[Tensor, "n n"], neighbours: int) -> Float[Tensor, "n"]:
    """exp(-mean squared distance to the nearest ``neighbours`` tokens, itself included), [n]."""
    nearest = distance.topk(neighbours, dim=1, largest=False).values
    return nearest.square_().mean(dim=1).neg_().exp_()


def density_peaks(
    distance: Float[Tensor, "n n"],
    density: Float[Tensor, "n"],
    num_groups: int,
    ties: str = "index",
) -> Int[Tensor, "num_groups"]:
    """Centres: the tokens with the highest density x distance to a denser token.

    Parameters
    ----------
    distance
        ``[n, n]`` of `pairwise_distance`.
    density
        ``[n]``.
    num_groups
        Number of centres.
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
        not_denser = place >= place[:, None]
    else:
        not_denser = density <= density[:, None]
    to_denser = distance.masked_fill(not_denser, torch.inf).amin(dim=1)
    # Where nobody is denser: the largest distance of all.
    to_denser = to_denser.minimum(distance.amax())
    return (to_denser * density).topk(num_groups).indices


def assign(
    tokens: Float[Tensor, "n hidden"],
    distance: Float[Tensor, "n n"],
    centres: Int[Tensor, "num_groups"],
    by: str = "l2",
) -> Int[Tensor, "n"]:
    """Group of every token, ``[n]`` int64: the nearest centre; centres are in their own group.

    Parameters
    ----------
    tokens
        ``[n, hidden]``.
    distance
        ``[n, n]`` of `pairwise_distance`.
    centres
        ``[num_groups]``.
    by
        ``"l2"`` (official code) or ``"cosine"`` (paper).
    """
    if by == "cosine":
        unit = torch.nn.functional.normalize(tokens.float(), dim=1)
        groups = (unit @ unit[centres].T).argmax(dim=1)
    else:
        groups = distance.index_select(1, centres).argmin(dim=1)
    return groups.scatter(0, centres, torch.arange(len(centres), device=tokens.device))


def merge(
    tokens: Float[Tensor, "n hidden"], groups: Int[Tensor, "n"], num_groups: int, how: str = "mean"
) -> Float[Tensor, "num_groups hidden"]:
    """One vector per group, ``[num_groups, hidden]``: the mean (official) or sum (paper)."""
    membership = groups == torch.arange(num_groups, device=tokens.device)[:, None]
    membership = membership.float()
    total = membership @ tokens.float()
    if how == "mean":
        total = total / (membership.sum(dim=1, keepdim=True) + MEAN_EPSILON)
    return total.to(tokens.dtype)


@stage("clustering")
def reconstruct(
    tokens: Float[Tensor, "n hidden"],
    num_groups: int,
    merge_by: str = "mean",
    assign_by: str = "l2",
    ties: str = "index",
    needs_centres: bool = True,
) -> tuple[Float[Tensor, "num_groups hidden"], Int[Tensor, "n"], Int[Tensor, "num_groups"] | None]:
    """Cluster recycled tokens by density peaks and merge every group.

    Parameters
    ----------
    tokens
        Hidden states of the recycled tokens, ``[n, hidden]``.
    num_groups
        Groups to form; also the number of neighbours in the density.
    merge_by
        ``"mean"`` (official code) or ``"sum"`` (paper).
    assign_by
        ``"l2"`` (official code) or ``"cosine"`` (paper).
    ties
        ``"index"`` or ``"strict"``, see `density_peaks`.
    needs_centres
        Whether the caller reads the centres. A single group is known without them.

    Returns
    -------
    vectors, groups, centres
        ``[num_groups, hidden]``, ``[n]`` and ``[num_groups]``; groups in order of their centres.
        The centres are ``None`` where nothing was to be clustered and nobody reads them.
    """
    if num_groups == 1 and not needs_centres:
        groups = torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
        return merge(tokens, groups, num_groups, merge_by), groups, None
    distance = pairwise_distance(tokens)
    centres = density_peaks(distance, knn_density(distance, num_groups), num_groups, ties)
    groups = assign(tokens, distance, centres, assign_by)
    return merge(tokens, groups, num_groups, merge_by), groups, centres
