"""What the schedule of a method says about one sample."""

from __future__ import annotations

import sparsevlm as sv
from sparsevlm.schedule import tokens_per_layer

from .cases import NUM_LAYERS


def recycle_of(pruner: sv.Pruner) -> float:
    """Share of the dropped tokens that is recycled."""
    return getattr(pruner, "recycle", 0)


def scheduled(method: str, pruner: sv.Pruner, num_visual: int) -> tuple[list, list] | None:
    """Tokens entering and leaving every layer; ``None`` where the counts follow the question."""
    fixed = getattr(pruner, "level", "fixed") == "fixed"
    if not fixed:
        return None
    assert sv.METHODS[method.partition(":")[0]].meets_budget
    return tokens_per_layer(
        pruner.cuts, NUM_LAYERS, num_visual, recycle=recycle_of(pruner),
        counted_layer=pruner.counted_layer, always_drop=getattr(pruner, "always_drop", False),
    )  # fmt: skip
