"""What several methods share: where they prune, and how the budget becomes stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparsevlm.core.budget import check_budget, schedule_for
from sparsevlm.core.interface import PruningContext, StagedPruner
from sparsevlm.core.schedule import PruningStage


@dataclass(frozen=True)
class ControlPruner(StagedPruner):
    """Base of Random and Uniform: SparseVLM's layers, without recycling and without attention."""

    needs_attention = False

    @classmethod
    def for_budget(
        cls, tokens: int, num_layers: int, num_visual: int, layers: Sequence[int] | None = None
    ) -> ControlPruner:
        """Stages after SparseVLM's layers, or ``layers``; counts solved for without recycling."""
        return cls(schedule_for(tokens, num_layers, num_visual, recycle=0, layers=layers))


@dataclass(frozen=True)
class AtInput(StagedPruner):
    """Base of methods with one stage, at the input of layer 0, without the decoder's attention.

    What is left is numbered anew.
    """

    scored_layer = "next"
    counted_layer = "next"
    needs_attention = False
    positions = "renumbered"

    @classmethod
    def for_budget(cls, tokens: int, num_layers: int, num_visual: int) -> AtInput:
        """The budget's tokens in every layer."""
        tokens, *_ = check_budget(tokens, num_layers, num_visual)
        return cls((PruningStage(-1, tokens),))

    def count(self, context: PruningContext) -> int:
        """See `kept_of`."""
        return kept_of(self, context)


@dataclass(frozen=True)
class InputPruner(AtInput):
    """The same with a choice of positions.

    Parameters
    ----------
    stages
        The one stage, and how many tokens stay.
    positions
        ``"renumbered"`` or ``"original"``: a merged token has the place of one of its members.
    """

    positions: str = "renumbered"


class PrunerWrapper:
    """Base of a pruner around another one. What it does not define is that of the inner pruner."""

    inner: StagedPruner

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not set yet, while a wrapper is copied
            raise AttributeError(name)
        return getattr(self.inner, name)


def kept_of(pruner: StagedPruner, context: PruningContext) -> int:
    """How many tokens a stage keeps; all, where the picture has fewer."""
    return min(pruner.keep_at(context.layer), context.num_current)
