"""What the schedule of a method says about one sample."""

from __future__ import annotations

import sparsevlm as sv
from sparsevlm.core.schedule import tokens_per_layer

from .cases import NUM_LAYERS


def recycle_of(pruner: sv.Pruner) -> float:
    """Share of the dropped tokens that is recycled."""
    return getattr(pruner, "recycle", 0)


def scheduled(method: str, pruner: sv.Pruner, num_visual: int) -> tuple[list, list] | None:
    """Tokens entering and leaving every layer; ``None`` where the budget does not decide them.

    That is where the counts follow the question, or where pooling has to divide a grid or frames
    evenly (`test_baselines` looks at those).
    """
    if getattr(pruner, "sparsity_mode", "fixed") != "fixed" or pruner.name == "pooled":
        return None
    unmet = "sparsevlm-not-refilled"
    assert sv.METHODS[method.partition(":")[0]].meets_budget or method == unmet
    return tokens_per_layer(
        pruner.stages, NUM_LAYERS, num_visual, recycle=recycle_of(pruner),
        counted_layer=pruner.counted_layer, always_drop=getattr(pruner, "always_drop", False),
    )  # fmt: skip
