"""VisPruner: the patches that the CLS token looks at, and of the others those without a duplicate.

Source
------
VisPruner (arXiv 2412.01818), section 3; behavior of the official `llava_arch.py` (`encode_images`).

Difference
----------
Where the official loop fails, on a list of odd length or with fewer than eight pairs, it goes on
here with the pairs that there are. All is computed in float32: the outcome hangs on the order of
thousands of nearly equal numbers, and half precision gives others (DEVIATIONS.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sparsevlm.core.interface import PruningContext, Selection
from sparsevlm.methods.bases import InputPruner

if TYPE_CHECKING:
    from torch import Tensor

REMOVED = 8  # in a round


@dataclass(frozen=True)
class VisPruner(InputPruner):
    """Important tokens, then diverse ones; in raster order.

    Parameters
    ----------
    stages, positions
        See `InputPruner`.
    important
        Share of the budget that goes to the patches with the highest CLS attention.
    """

    important: float = 0.5

    name: ClassVar[str] = "vispruner"
    needs_tower = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.important <= 1:
            raise ValueError(f"important must be a share from 0 to 1, got {self.important!r}")

    def select(self, context: PruningContext) -> Selection:
        """By attention and features of the tower, before the projector."""
        import torch

        tower, count = context.seen.tower(), self.count(context)
        attention = tower.attention.float().mean(dim=0)
        order = attention.argsort(descending=True, stable=True)
        important = int(count * self.important)
        diverse = without_duplicates(tower.hidden, order[important:], count - important)
        return Selection(torch.cat([order[:important], diverse]).sort().values)


def without_duplicates(features: Tensor, residual: Tensor, count: int) -> Tensor:
    """What is left after the most similar tokens are deleted, round by round.

    Every round compares the tokens at even places of the list with those at odd ones, and deletes
    those even ones that are most similar to an odd one. The others come first in the new list,
    the most similar ahead, so that every round pairs them anew.

    Parameters
    ----------
    features
        ``[n, channels]`` of all tokens, compared by cosine.
    residual
        ``[m]`` the tokens to thin out, in order.
    count
        How many stay; at most m.

    Returns
    -------
    Tensor
        ``[count]`` of them, in the order of the last list.
    """
    import torch
    from torch.nn.functional import normalize

    if not count:
        return residual[:0]
    unit = normalize(features.float(), dim=-1)
    while len(residual) > count:
        even, odd = residual[::2], residual[1::2]
        score = (unit[even] @ unit[odd].T).max(dim=1).values
        order = score.argsort(descending=True, stable=True)
        removed = min(REMOVED, len(residual) - count)
        residual = torch.cat([even[order[removed:]], odd])
    return residual
