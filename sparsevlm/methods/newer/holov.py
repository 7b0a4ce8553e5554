"""HoloV: every part of the image keeps tokens, as many as its share of the CLS attention.

Source
------
HoloV (arXiv 2510.02912), section 3; behavior of the official `llava/model/utils.py`. The code's
"crops" are runs of raster tokens, its similarity term cancels but for rounding, and tokens are
chosen by attention alone; the code is followed here, zero vectors included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sparsevlm.core.interface import Groups, PruningContext, Selection
from sparsevlm.methods.bases import AtInput

if TYPE_CHECKING:
    from torch import Tensor

SCALE, WEIGHT, TINY = 1000, 0.09, 1e-6  # of the official code


@dataclass(frozen=True)
class HoloV(AtInput):
    """Tokens chunk by chunk, in a chunk by descending attention; zero vectors where one overflows.

    Parameters
    ----------
    stages
        The one stage, and how many tokens stay, zero vectors included.
    chunks
        Runs of raster tokens that share the budget.
    """

    chunks: int = 16

    name: ClassVar[str] = "holov"
    needs_tower = True

    def select(self, context: PruningContext) -> Selection:
        """The quota of every chunk; what a chunk has no tokens for becomes zero vectors."""
        import torch

        count, device = self.count(context), context.visual.device
        if count == context.num_current:
            return Selection(torch.arange(count, device=device))
        attention = context.seen.tower().attention.float().mean(dim=0)
        sizes = chunk_sizes(context.num_current, self.chunks)
        scores = chunk_scores(context.visual, attention, sizes)
        chosen = choose(attention, sizes, quotas(scores, count))[:count]
        keep, order = chosen.sort()
        order = order.argsort()
        if len(keep) == count:
            return Selection(keep, order=order)
        zeros = context.visual.new_zeros(count - len(keep), context.visual.shape[1])
        places = torch.arange(len(keep), count, device=device)
        return Selection(keep, Groups(keep[:0], keep[:0]), zeros, order=torch.cat([order, places]))


def chunk_sizes(count: int, chunks: int) -> list[int]:
    """Tokens of every chunk: equal, but for the first ones, which have one more."""
    chunks = min(chunks, count)
    return [count // chunks + (number < count % chunks) for number in range(chunks)]


def chunk_scores(features: Tensor, attention: Tensor, sizes: list[int]) -> Tensor:
    """``[chunks]``: mean of attention plus the weighted variance of the similarity in the chunk.

    Parameters
    ----------
    features
        ``[n, hidden]`` projected tokens.
    attention
        ``[n]`` of the CLS token, mean over heads.
    sizes
        See `chunk_sizes`.
    """
    import torch

    scores = []
    for one, own in zip(features.float().split(sizes), attention.split(sizes), strict=True):
        size = len(own)
        if size == 1:
            scores.append(own[0])
            continue
        unit = one / (one.norm(dim=-1, keepdim=True) + TINY)
        likeness = (unit @ unit.T).fill_diagonal_(0)
        mean = likeness.sum(dim=1, keepdim=True) / (size - 1)
        variance = (likeness - mean).square().sum(dim=1) / (size - 1)
        own = SCALE * own
        balance = own.abs().mean() / (variance.abs().mean() + TINY)
        scores.append((own + WEIGHT * balance * variance).mean())
    return torch.stack(scores)


def quotas(scores: Tensor, count: int) -> list[int]:
    """How many of ``count`` tokens each chunk is allotted, whatever it has."""
    share = scores / (scores.sum() + TINY)
    quota = (share * count).floor().long()
    left = count - int(quota.sum())
    quota[share.topk(min(left, len(share))).indices] += 1
    return quota.tolist()


def choose(attention: Tensor, sizes: list[int], quota: list[int]) -> Tensor:
    """Tokens of all chunks, one chunk after the other.

    Parameters
    ----------
    attention, sizes, quota
        See `chunk_scores` and `quotas`.

    Returns
    -------
    Tensor
        Indices: descending attention in a chunk, raster order where it stays whole.
    """
    import torch

    found, start = [], 0
    for size, kept in zip(sizes, quota, strict=True):
        own = attention[start : start + size]
        best = own.argsort(descending=True, stable=True)[:kept]
        found.append(start + (torch.arange(size, device=own.device) if kept >= size else best))
        start += size
    return torch.cat(found)
