"""FastV: one stage, scored by the attention of the last prompt token.

Source
------
FastV (arXiv 2403.06764), official `modeling_llama.py` (`fastv_forward`).

Difference
----------
The official K prunes before layer K by the attention of layer K - 1: ``layer = K - 1``. The
budget fixes how many stay; the official R is a share (DEVIATIONS.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sparsevlm.core.budget import OFFICIAL_LAYERS, scale_layers, schedule_for
from sparsevlm.core.interface import PruningContext, Selection, StagedPruner
from sparsevlm.core.schedule import as_layers

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class FastV(StagedPruner):
    """Keep the visual tokens that the last prompt token attends to most.

    Survivors keep their positions.
    """

    name: ClassVar[str] = "fastv"
    batched = True

    @classmethod
    def for_budget(
        cls, tokens: int, num_layers: int, num_visual: int, layers: Sequence[int] | None = None
    ) -> FastV:
        """One stage, after SparseVLM's first layer, or the first of ``layers``."""
        first = OFFICIAL_LAYERS[:1]
        first = scale_layers(first, num_layers) if layers is None else as_layers(layers)[:1]
        return cls(schedule_for(tokens, num_layers, num_visual, recycle=0, layers=first))

    def select(self, context: PruningContext) -> Selection:
        """Score by the last row, keep the best."""
        from sparsevlm.core.recycling import select_top

        last, scores = last_token_scores(context)
        kept = min(self.keep_at(context.layer), context.num_current)
        keep, _ = select_top(scores, kept, 0)
        return Selection(keep, scores=scores, raters=last)


def last_token_scores(context: PruningContext) -> tuple[Tensor, Tensor]:
    """Position of the last prompt token, and its attention (mean over heads) to each token."""
    import torch

    from sparsevlm.core.scoring import mean_over_heads, score

    last = torch.arange(context.num_text - 1, context.num_text, device=context.visual.device)
    return last, score(mean_over_heads(context.attention_rows(last)))
