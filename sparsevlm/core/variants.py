"""The five programs called SparseVLM, by name.

Source
------
Paper, section 3 (``paper``); Gumpest/SparseVLMs v1.0, v1.5, video, and v2.0 in mode 2_0 (``plus``).
`docs/algorithm.md` sets them side by side.

Difference
----------
The releases have settings for 32 layers and 576 visual tokens (video: 2048); here layers keep their
fraction of depth, and counts their shape (DEVIATIONS.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sparsevlm.core.budget import OFFICIAL_NUM_VISUAL, PLUS_KEEP, scale_layers, schedule_for
from sparsevlm.core.schedule import RECYCLE_FRACTION, PruningStage, as_layers
from sparsevlm.core.sparsevlm import SparseVLM

Layers = Sequence[int] | None
# For every model alike; it is half of the 28 heads of Qwen2-VL-7B.
PLUS_HEADS = 14
V10_LAYERS = (2, 6, 15, 19)
# --scale and --bias of the v1.0 scripts, for the budgets that its README gives them.
V10_SETTINGS = {192: (13.5, 0.0), 128: (9.0, 6.0), 64: (0.8, 0.0)}
# The video release prunes after layer 1, for v1's 135 tokens; layer 2 gives the paper's 194.
VIDEO_LAYERS = {135: (1,), 194: (2,)}


def plus_heads(num_heads: int) -> int:
    """Heads that SparseVLM+ averages: 14, or half of those of a model that has fewer.

    The release knows only models with 28 heads and more.
    """
    return PLUS_HEADS if num_heads >= PLUS_HEADS else max(1, num_heads // 2)


def v15(
    tokens: int, num_layers: int, num_visual: int, *, layers: Layers = None, **options: Any
) -> SparseVLM:
    """Fixed counts, 30 % recycled by L2 and mean, positions renumbered: the paper's Table 1."""
    stages = schedule_for(
        tokens, num_layers, num_visual, recycle=options.get("recycle", RECYCLE_FRACTION),
        layers=layers, always_drop=options.get("always_drop", True),
    )  # fmt: skip
    return SparseVLM(stages, **options)


def paper(
    tokens: int, num_layers: int, num_visual: int, *, layers: Layers = None, **options: Any
) -> SparseVLM:
    """N = lambda (L_v - rank P), recycled by cosine and sum; the budget gives lambda."""
    nominal = v15(tokens, num_layers, num_visual, layers=layers)
    defaults = {"raters": "at_least_mean", "sparsity_mode": "rank", "tokens": tokens,
                "merge": "sum", "assignment": "cosine", "variant": "paper"}  # fmt: skip
    stages = tuple(PruningStage(stage.layer) for stage in nominal.stages)
    return SparseVLM(stages, **{**defaults, **options})


def v10(
    tokens: int | None, num_layers: int, num_visual: int, *, layers: Layers = None, **options: Any
) -> SparseVLM:
    """Keep rank * scale + bias at four stages. What is left follows the question, not the budget.

    The settings of a budget are the release's own, in proportion to ``num_visual``; with another
    budget give ``scale`` (and ``bias``) and ``tokens=None``.

    Raises
    ------
    ValueError
        For a budget without released settings and without ``scale``.
    """
    if "scale" not in options:
        if type(tokens) is not int or tokens not in V10_SETTINGS:
            known = ", ".join(map(str, V10_SETTINGS))
            raise ValueError(
                f"v1.0 has settings for {known} tokens, got {tokens!r}; for another number give "
                "tokens=None and scale= (and bias=): a stage keeps rank * scale + bias tokens"
            )
        scale, bias = (part * num_visual / OFFICIAL_NUM_VISUAL for part in V10_SETTINGS[tokens])
        options = {"scale": scale, "bias": bias, **options}
    defaults = {"sparsity_mode": "scaled_rank", "variant": "v1.0"}
    layers = scale_layers(V10_LAYERS, num_layers) if layers is None else as_layers(layers)
    return SparseVLM(tuple(map(PruningStage, layers)), **{**defaults, **options})


def video(
    tokens: int | None, num_layers: int, num_visual: int, *, layers: Layers = None, **options: Any
) -> SparseVLM:
    """Keep rank tokens at one early stage. What is left follows the question, not the budget.

    ``tokens`` names the setting: 135 (the release: after layer 1 of 32), 194 (the paper's Table 3:
    after layer 2) or ``None`` with ``layers``, or the release's.

    Raises
    ------
    ValueError
        For another budget.
    """
    if layers is not None:
        layers = as_layers(layers)
    else:
        if tokens is not None and (type(tokens) is not int or tokens not in VIDEO_LAYERS):
            known = ", ".join(map(str, VIDEO_LAYERS))
            raise ValueError(
                f"the video release has settings for {known} tokens, got {tokens!r}; it keeps as "
                "many tokens as the rank says, so choose the layer: tokens=None and layers="
            )
        layers = scale_layers(VIDEO_LAYERS[135 if tokens is None else tokens], num_layers)
    defaults = {"sparsity_mode": "scaled_rank", "scale": 1.0, "variant": "video"}
    return SparseVLM(tuple(map(PruningStage, layers)), **{**defaults, **options})


def plus(
    tokens: int, num_layers: int, num_visual: int, *, layers: Layers = None, **options: Any
) -> SparseVLM:
    """SparseVLM+: gravity correction, priority heads, fixed counts, no recycling."""
    defaults = {"recycle": 0.0, "positions": "original", "gravity": True, "heads": PLUS_HEADS,
                "variant": "plus"}  # fmt: skip
    options = {**defaults, **options}
    stages = schedule_for(
        tokens, num_layers, num_visual, recycle=options["recycle"], layers=layers,
        lists=PLUS_KEEP, always_drop=options.get("always_drop", True),
    )  # fmt: skip
    return SparseVLM(stages, **options)


VARIANTS: dict[str, Callable[..., SparseVLM]] = {
    "paper": paper, "v1.0": v10, "v1.5": v15, "video": video, "plus": plus,
}  # fmt: skip
