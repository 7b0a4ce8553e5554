"""What the methods share that merge all visual tokens once, before layer 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sparsevlm.core.budget import check_budget
from sparsevlm.core.interface import StagedPruner
from sparsevlm.core.schedule import PruningStage


@dataclass(frozen=True)
class InputPruner(StagedPruner):
    """Base of ToMe and Pooled: one cut, at the input of layer 0, without attention.

    Parameters
    ----------
    cuts
        The one cut, and how many stay.
    positions
        ``"renumbered"`` or ``"original"``: a merged token has the place of one of its members.
    """

    positions: str = "renumbered"

    scored_layer: ClassVar[str] = "next"
    counted_layer: ClassVar[str] = "next"
    needs_attention: ClassVar[bool] = False

    @classmethod
    def for_budget(cls, tokens: int, num_layers: int, num_visual: int) -> InputPruner:
        """The budget's tokens in every layer."""
        check_budget(tokens, num_layers, num_visual)
        return cls((PruningStage(-1, tokens),))
