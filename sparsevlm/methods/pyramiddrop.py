"""PyramidDrop: three stages at a geometric rate, scored by the attention of the layer to come.

Source
------
PyramidDrop (arXiv 2410.17247), official `modeling_llama_pdrop.py` (`pdrop_forward`).

Difference
----------
The rate is solved for from the budget; the stages scale with the depth, and a stage that would
come before layer 0 comes before layer 1 (DEVIATIONS.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from sparsevlm.core.budget import check_budget, scale_layers
from sparsevlm.core.interface import PruningContext, Selection, StagedPruner
from sparsevlm.core.schedule import PruningStage, mean_tokens_out
from sparsevlm.methods.fastv import last_token_scores

# Prune before these layers of 32: the late stages for 192 tokens, the early ones for 128 and 64.
STAGES = ((8, 16, 24), (2, 8, 16))


@dataclass(frozen=True)
class PyramidDrop(StagedPruner):
    """Keep what the last prompt token is about to attend to most.

    Parameters
    ----------
    stages
        After which layers, and how many tokens stay.
    counted_layer
        ``"next"``: `tokens_out` as PyramidDrop's authors count. ``"this"``: as SparseVLM counts,
        used in models so shallow that the first stage has to be moved.
    positions
        ``"renumbered"`` (official) or ``"original"`` (for models with M-RoPE).
    """

    counted_layer: str = "next"
    positions: str = "renumbered"

    name: ClassVar[str] = "pdrop"
    scored_layer = "next"
    batched = True

    @classmethod
    def for_budget(cls, tokens: int, num_layers: int, num_visual: int) -> PyramidDrop:
        """The late stages where they can meet the budget, else the early ones.

        Raises
        ------
        ValueError
            If neither can.
        """
        tokens, num_layers, num_visual = check_budget(tokens, num_layers, num_visual)
        scaled = [scale_layers(places, num_layers) for places in STAGES]
        # Before layer 0 the last token has seen nothing of the question, so no stage comes there.
        # Counting entries, a full layer 0 of a shallow model could be more than the budget.
        counted = "this" if any(layers[0] == 0 for layers in scaled) else "next"
        fewest = []
        for layers in scaled:
            layers = tuple(sorted({max(1, layer) for layer in layers}))
            spent = partial(
                mean_tokens_out, num_layers=num_layers, num_visual=num_visual, recycle=0,
                counted_layer=counted,
            )  # fmt: skip
            stages = _solve(tokens, layers, num_visual, spent)
            if abs(spent(stages) - tokens) <= 1:
                return cls(stages, counted)
            fewest.append(spent(geometric(layers, 0.0, num_visual)))
        raise ValueError(
            f"a budget of {tokens} tokens is impossible for PyramidDrop with {num_layers} layers: "
            f"its stages leave at least {min(fewest):.1f}"
        )

    def select(self, context: PruningContext) -> Selection:
        """Score by the last row, keep the best."""
        from sparsevlm.core.recycling import select_top

        last, scores = last_token_scores(context)
        kept = min(self.keep_at(context.layer), context.num_current)
        keep, _ = select_top(scores, kept, 0)
        return Selection(keep, scores=scores, raters=last)


def geometric(layers: Sequence[int], rate: float, num_visual: int) -> tuple[PruningStage, ...]:
    """Stages before ``layers`` that keep ``int(num_visual * rate ** stage)`` tokens, at least 1."""
    return tuple(
        PruningStage(layer - 1, max(1, int(num_visual * rate**stage)))
        for stage, layer in enumerate(layers, start=1)
    )


def _solve(
    tokens: int,
    layers: Sequence[int],
    num_visual: int,
    spent: Callable[[Sequence[PruningStage]], float],
) -> tuple[PruningStage, ...]:
    low, high = 0.0, 1.0
    for _ in range(50):
        rate = (low + high) / 2
        too_few = spent(geometric(layers, rate, num_visual)) < tokens
        low, high = (rate, high) if too_few else (low, rate)
    candidates = [geometric(layers, rate, num_visual) for rate in (low, high)]
    return min(candidates, key=lambda stages: abs(spent(stages) - tokens))
