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
    batched = True

    def select(self, context: PruningContext) -> Selection:
        """Merge down to the count; tokens that merged with none are kept as they are."""
        import torch

        *batch, count, _ = context.visual.shape
        everyone = torch.arange(count, device=context.visual.device).expand(*batch, -1)
        remaining = self.keep_at(context.layer)
        if remaining >= count:
            return Selection(everyone)
        vectors, sizes, anchors, labels = merge_to(context.visual, remaining)
        return Selection(everyone[..., :0], Groups(everyone, labels, sizes == 1), vectors, anchors)


def match(
    metric: Tensor, num_merged: int, class_token: bool = False, distill_token: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """One round of bipartite soft matching between even and odd tokens.

    Parameters
    ----------
    metric
        ``[*batch, n, channels]``; compared by cosine.
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
    num_merged = min(num_merged, (metric.shape[-2] - protected) // 2)
    metric = metric / metric.norm(dim=-1, keepdim=True)
    similarity = metric[..., ::2, :] @ metric[..., 1::2, :].mT
    if class_token:
        similarity[..., 0, :] = -math.inf
    if distill_token:
        similarity[..., 0] = -math.inf
    best, partner = similarity.max(dim=-1)
    order = best.argsort(dim=-1, descending=True, stable=True)
    source, unmerged = order[..., :num_merged], order[..., num_merged:]
    return unmerged.sort(dim=-1).values * 2, source * 2, partner.gather(-1, source) * 2 + 1


def merge_to(tokens: Tensor, remaining: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Merge until exactly ``remaining`` tokens are left.

    Parameters
    ----------
    tokens
        ``[*batch, n, hidden]``.
    remaining
        At most n.

    Returns
    -------
    vectors, sizes, anchors, labels
        ``[*batch, remaining, hidden]`` size-weighted means; how many tokens are in each; the token
        whose place it takes, ascending; and for every input token the output row it is in,
        ``[*batch, n]``.
    """
    import torch

    vectors, sizes = tokens.float(), tokens.new_ones(tokens.shape[:-1], dtype=torch.float32)
    anchors = labels = torch.arange(tokens.shape[-2], device=tokens.device).expand(sizes.shape)
    while (count := vectors.shape[-2]) > remaining:
        _, source, destination = match(vectors, count - remaining)
        vectors, sizes, row, places = merge_round(vectors, sizes, source, destination)
        anchors, labels = anchors.gather(-1, places), row.gather(-1, labels)
    return vectors.to(tokens.dtype), sizes, anchors, labels


def merge_round(
    vectors: Tensor, sizes: Tensor, source: Tensor, destination: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Carry out one round of `match`.

    Parameters
    ----------
    vectors, sizes
        ``[*batch, n, hidden]`` and ``[*batch, n]``: how many tokens are already in each.
    source, destination
        Which token merges into which.

    Returns
    -------
    vectors, sizes, row, places
        Of the merged tokens, in the order of their destinations; the new row of every token,
        ``[*batch, n]``; and the tokens that kept their place.
    """
    import torch

    *batch, count, hidden = vectors.shape
    left = count - source.shape[-1]
    everyone = torch.arange(count, device=vectors.device).expand(*batch, -1)
    into = everyone.scatter(-1, source, destination)
    moves = torch.zeros_like(sizes, dtype=torch.int64).scatter(-1, source, 1)
    # The tokens that stay, in their order, without a shape that depends on values.
    places = moves.argsort(dim=-1, stable=True)[..., :left]
    row = ((1 - moves).cumsum(dim=-1) - 1).gather(-1, into)
    # All samples as one, for their sums one by one would be other kernels for each.
    first = torch.arange(0, row.numel() // count * left, left, device=row.device)
    flat = (row + first.view(*batch, 1)).flatten()
    total = vectors.new_zeros(len(first) * left, hidden)
    total.index_add_(0, flat, (vectors * sizes[..., None]).flatten(0, -2))
    sizes = sizes.new_zeros(len(total)).index_add_(0, flat, sizes.flatten()).view(*batch, left)
    return total.view(*batch, left, hidden) / sizes[..., None], sizes, row, places
