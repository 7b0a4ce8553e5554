"""DivPrune: the visual tokens that lie as far from each other as possible.

Source
------
DivPrune (arXiv 2503.02175), section 3; behavior of the official `llava_arch.py`.

Difference
----------
The official loop does not mask what it has chosen: where there are fewer directions than tokens
asked for it takes one token several times. Here every token is taken once (DEVIATIONS.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sparsevlm.core.interface import PruningContext, Selection
from sparsevlm.methods.bases import InputPruner

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DivPrune(InputPruner):
    """Greedy max-min diversity of the projected tokens; looks at nothing else."""

    name: ClassVar[str] = "divprune"

    def select(self, context: PruningContext) -> Selection:
        """The tokens found by `farthest_first`, in raster order."""
        return Selection(farthest_first(context.visual, self.count(context)).sort().values)


def farthest_first(features: Tensor, count: int, repeat: bool = False) -> Tensor:
    """Tokens in the order in which each next one is farthest from all before it.

    The distance is 1 - cosine, in float32. The first token is the one farthest from its nearest
    neighbor; of equal distances the first token wins.

    Parameters
    ----------
    features
        ``[n, channels]``.
    count
        How many; at most n.
    repeat
        As officially: a token may be taken again where all others are at distance 0, too.

    Returns
    -------
    Tensor
        ``[count]`` indices.
    """
    import torch
    from torch.nn.functional import normalize

    unit = normalize(features.float(), dim=-1)
    distance = 1 - unit @ unit.T
    # The smallest of a column is the token itself.
    chosen = distance.kthvalue(min(2, len(unit)), dim=0).values.argmax()[None]
    gap, order = distance.index_select(0, chosen)[0], [chosen]
    while len(order) < count:
        if not repeat:
            gap = gap.index_fill(0, chosen, -math.inf)
        chosen = gap.argmax()[None]
        gap = torch.minimum(gap, distance.index_select(0, chosen)[0])
        order.append(chosen)
    return torch.cat(order)
