"""ToMe: merge similar visual tokens at the language model's input until the budget is met.

Source
------
ToMe (arXiv 2210.09461), official `tome/merge.py` (`bipartite_soft_matching`, `merge_wavg`).

Difference
----------
ToMe was made for vision transformers; where SparseVLM's comparison merges is not published. Here:
at the input of layer 0, repeated until exactly the budget remains, the projected features as
metric, the merged tokens in raster order of their destinations (DEVIATIONS.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sparsevlm.core.interface import Groups, PruningContext, Selection
from sparsevlm.methods.bases import InputPruner

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ToMe(InputPruner):
    """Bipartite soft matching, size-weighted mean. Knows nothing of the question."""

    name: ClassVar[str] = "tome"

    def select(self, context: PruningContext) -> Selection:
        """Merge down to the count; tokens that merged with none are kept as they are."""
        import torch

        remaining = self.keep_at(context.layer)
        vectors, sizes, anchors, labels = merge_to(context.visual, remaining)
        single = sizes == 1
        if bool(single.all()):
            return Selection(anchors)
        rank = torch.cumsum(~single, dim=0) - 1
        members = (~single)[labels].nonzero().flatten()
        groups = Groups(members, rank[labels[members]])
        return Selection(anchors[single], groups, vectors[~single], anchors[~single])


def match(
    metric: Tensor, num_merged: int, class_token: bool = False, distill_token: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """One round of bipartite soft matching between even and odd tokens.

    Parameters
    ----------
    metric
        ``[n, channels]``; compared by cosine.
    num_merged
        Even tokens to merge, at most half of the tokens that are not protected.
    class_token, distill_token
        Protect the first even, the first odd token (vision transformers have them).

    Returns
    -------
    unmerged, source, destination
        Indices into the tokens: evens that stay, evens that merge, and the odd token that each of
        these merges into.
    """
    import math

    protected = int(class_token) + int(distill_token)
    num_merged = min(num_merged, (metric.shape[0] - protected) // 2)
    metric = metric / metric.norm(dim=-1, keepdim=True)
    similarity = metric[::2] @ metric[1::2].T
    if class_token:
        similarity[0] = -math.inf
    if distill_token:
        similarity[:, 0] = -math.inf
    best, partner = similarity.max(dim=-1)
    order = best.argsort(descending=True, stable=True)
    source, unmerged = order[:num_merged], order[num_merged:]
    return unmerged.sort().values * 2, source * 2, partner[source] * 2 + 1


def merge_to(tokens: Tensor, remaining: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Merge until exactly ``remaining`` tokens are left.

    Parameters
    ----------
    tokens
        ``[n, hidden]``.
    remaining
        At most n.

    Returns
    -------
    vectors, sizes, anchors, labels
        ``[remaining, hidden]`` size-weighted means; how many tokens are in each; the token whose
        place it takes, ascending; and for every input token the output row it is in, ``[n]``.
    """
    import torch

    count = tokens.shape[0]
    vectors, sizes = tokens.float(), torch.ones(count, device=tokens.device)
    anchors = labels = torch.arange(count, device=tokens.device)
    while len(vectors) > remaining:
        _, source, destination = match(vectors, len(vectors) - remaining)
        vectors, sizes, row, stays = merge_round(vectors, sizes, source, destination)
        anchors, labels = anchors[stays], row[labels]
    return vectors.to(tokens.dtype), sizes, anchors, labels


def merge_round(
    vectors: Tensor, sizes: Tensor, source: Tensor, destination: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Carry out one round of `match`.

    Parameters
    ----------
    vectors, sizes
        ``[n, hidden]`` and ``[n]``: how many tokens are already in each.
    source, destination
        Which token merges into which.

    Returns
    -------
    vectors, sizes, row, stays
        Of the merged tokens, in the order of their destinations; the new row of every token,
        ``[n]``; and whether a token kept its place, ``[n]`` bool.
    """
    import torch

    count = len(vectors)
    into = torch.arange(count, device=vectors.device)
    into[source] = destination
    stays = torch.ones(count, dtype=torch.bool, device=vectors.device)
    stays[source] = False
    row = (torch.cumsum(stays, dim=0) - 1)[into]
    total = vectors.new_zeros(count - len(source), vectors.shape[1])
    total.index_add_(0, row, vectors * sizes[:, None])
    sizes = sizes.new_zeros(len(total)).index_add_(0, row, sizes)
    return total / sizes[:, None], sizes, row, stays
