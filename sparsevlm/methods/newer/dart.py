"""DART: a few pivot tokens, and for each the visual tokens that repeat it least.

Source
------
DART (arXiv 2502.11494), section 3.3; behavior of the official `modeling_llama_self.py`. The paper's
threshold on the similarity is a fixed quota in the code, which is followed here.

Difference
----------
The official K prunes before layer K by the keys of layer K - 1: ``layer = K - 1``. The budget fixes
how many stay, and pivots that pick first pick one more where the quota is not whole; officially
"192 tokens" are two full layers and then 196 (DEVIATIONS.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sparsevlm.core.budget import scale_layers, schedule_for
from sparsevlm.core.interface import PruningContext, Selection, StagedPruner
from sparsevlm.core.schedule import as_layers
from sparsevlm.methods.bases import kept_of

if TYPE_CHECKING:
    from torch import Tensor

LAYERS = (1,)  # K = 2, in a model of 32 layers


@dataclass(frozen=True)
class DART(StagedPruner):
    """Image pivots, and what is least similar to them and to the text pivots.

    Survivors keep their positions.

    Parameters
    ----------
    stages
        The one stage, and how many tokens stay, image pivots included.
    image_pivots, text_pivots
        How many; fewer where the text, or the count, is shorter.
    """

    image_pivots: int = 4
    text_pivots: int = 4

    name: ClassVar[str] = "dart"

    @classmethod
    def for_budget(
        cls, tokens: int, num_layers: int, num_visual: int, layers: Sequence[int] | None = None
    ) -> DART:
        """One stage, after layer 1 of 32, or the first of ``layers``."""
        first = scale_layers(LAYERS, num_layers) if layers is None else as_layers(layers)[:1]
        return cls(schedule_for(tokens, num_layers, num_visual, recycle=0, layers=first))

    def select(self, context: PruningContext) -> Selection:
        """Pivots by the size of their keys, then `least_similar`."""
        import torch

        kept = kept_of(self, context)
        image = longest(context.seen.keys_visual, min(self.image_pivots, kept))
        text = longest(context.seen.keys_text, min(self.text_pivots, context.num_text))
        pivots = in_picking_order(image, text, context.seen.before, context.num_visual)
        states = context.seen.final_norm(torch.cat([context.visual, context.text]))
        picked = least_similar(states, context.num_current, image, pivots, kept - len(image))
        return Selection(torch.cat([image, *picked]).sort().values)


def longest(keys: Tensor, count: int) -> Tensor:
    """``[count]`` tokens with the largest L1 norm of their keys ``[tokens, heads, head_dim]``."""
    return keys.flatten(1).float().abs().sum(dim=1).topk(count).indices


def in_picking_order(image: Tensor, text: Tensor, before: int, num_visual: int) -> list[int]:
    """Pivots in the order in which they pick: that of a Python set of absolute positions.

    Parameters
    ----------
    image, text
        Pivots, the largest norm first, counted from the first visual token and from the first
        token behind the image.
    before, num_visual
        Tokens ahead of the image, and visual tokens.

    Returns
    -------
    list of int
        Counted from the first visual token; text follows the visual tokens.
    """
    positions = set()
    for place in image.tolist():
        positions.add(before + int(place))
    for place in text.tolist():
        positions.add(before + num_visual + int(place))
    # CPython orders a set of small integers by their value modulo the size of its table.
    return [position - before for position in positions]


def least_similar(
    states: Tensor, num_visual: int, image: Tensor, pivots: Sequence[int], count: int
) -> list[Tensor]:
    """What each pivot in turn picks among the visual tokens that are still free.

    Parameters
    ----------
    states
        ``[num_visual + num_text, hidden]`` after the decoder's last norm, compared by cosine.
    num_visual
        Visual tokens; they come first.
    image
        Image pivots, which are not free.
    pivots
        Of `in_picking_order`.
    count
        How many to pick in all, in equal parts; the first pivots pick one more where they must.

    Returns
    -------
    list of Tensor
        Ascending indices, one tensor per pivot.
    """
    import torch
    from torch.nn.functional import normalize

    unit = normalize(states.float(), dim=-1)
    taken = torch.zeros(num_visual, dtype=torch.bool, device=states.device)
    taken[image] = True
    picked = []
    for number, pivot in enumerate(pivots):
        quota = count // len(pivots) + (number < count % len(pivots))
        likeness = (unit[:num_visual] @ unit[pivot]).masked_fill(taken, torch.inf)
        picked.append(likeness.topk(quota, largest=False).indices.sort().values)
        taken[picked[-1]] = True
    return picked
