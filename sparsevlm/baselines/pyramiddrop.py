"""PyramidDrop: three cuts at a geometric rate, scored by the attention of the layer to come.

Source
------
PyramidDrop (arXiv 2410.17247), official `modeling_llama_pdrop.py` (`pdrop_forward`).

Difference
----------
The rate is solved for from the budget; the stages scale with the depth (DEVIATIONS.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from sparsevlm.baselines.fastv import last_token_scores
from sparsevlm.budget import check_budget, scale_layers
from sparsevlm.contract import CutPruner, Selection, View
from sparsevlm.schedule import Cut, mean_tokens_out

# Prune before these layers of 32: the late stages for 192 tokens, the early ones for 128 and 64.
STAGES = ((8, 16, 24), (2, 8, 16))


@dataclass(frozen=True)
class PyramidDrop(CutPruner):
    """Keep what the last prompt token is about to attend to most; positions are renumbered."""

    name: ClassVar[str] = "pdrop"
    scored_layer: ClassVar[str] = "next"
    positions: ClassVar[str] = "renumbered"

    @classmethod
    def for_budget(cls, tokens: int, num_layers: int, num_visual: int) -> PyramidDrop:
        """The late stages where they can meet the budget, else the early ones.

        Raises
        ------
        ValueError
            If neither can.
        """
        check_budget(tokens, num_layers, num_visual)
        fewest = []
        for stages in STAGES:
            layers = scale_layers(stages, num_layers)
            cuts = _solve(tokens, layers, num_layers, num_visual)
            if abs(_spent(cuts, num_layers, num_visual) - tokens) <= 1:
                return cls(cuts)
            fewest.append(_spent(geometric(layers, 0.0, num_visual), num_layers, num_visual))
        raise ValueError(
            f"a budget of {tokens} tokens is impossible for PyramidDrop with {num_layers} layers: "
            f"its stages leave at least {min(fewest):.1f}"
        )

    def select(self, view: View) -> Selection:
        """Score by the last row, keep the best."""
        from sparsevlm.recycling import select_top

        last, scores = last_token_scores(view)
        kept = min(self.keep_at(view.layer), view.num_current)
        keep, _ = select_top(scores, kept, 0)
        return Selection(keep, scores=scores, raters=last)


def geometric(layers: Sequence[int], rate: float, num_visual: int) -> tuple[Cut, ...]:
    """Cuts before ``layers`` that keep ``int(num_visual * rate ** stage)`` tokens, at least 1."""
    return tuple(
        Cut(layer - 1, max(1, int(num_visual * rate**stage)))
        for stage, layer in enumerate(layers, start=1)
    )


def _spent(cuts: Sequence[Cut], num_layers: int, num_visual: int) -> float:
    return mean_tokens_out(cuts, num_layers, num_visual, recycle=0, scored_layer="next")


def _solve(
    tokens: int, layers: Sequence[int], num_layers: int, num_visual: int
) -> tuple[Cut, ...]:
    low, high = 0.0, 1.0
    for _ in range(50):
        rate = (low + high) / 2
        spent = _spent(geometric(layers, rate, num_visual), num_layers, num_visual)
        low, high = (rate, high) if spent < tokens else (low, rate)
    candidates = [geometric(layers, rate, num_visual) for rate in (low, high)]
    return min(candidates, key=lambda cuts: abs(_spent(cuts, num_layers, num_visual) - tokens))
