"""The budget solver: stages that leave a given mean number of visual tokens.

Source
------
The lists of the official v1.5 and v2.0 releases (`score.py`, `sparse_token_list_*`).

Difference
----------
The official code has lists for 32 layers and 576 visual tokens only; here any budget, depth and
image size is solved for in the same shape. See DEVIATIONS.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from sparsevlm.core.schedule import (
    RECYCLE_FRACTION,
    PruningStage,
    check_stages,
    is_int,
    mean_tokens_out,
)

OFFICIAL_LAYERS = (2, 6, 15)
OFFICIAL_NUM_LAYERS = 32
OFFICIAL_NUM_VISUAL = 576
# v1.5 has 192, 128 and 64; 96 was added, unchanged in every other way, by v2.0 in mode 1_0.
OFFICIAL_KEEP = {192: (300, 200, 110), 128: (303, 110, 36), 96: (238, 48, 26), 64: (66, 30, 17)}
# v2.0 in mode 2_0 (SparseVLM+), which does not recycle.
PLUS_KEEP = {192: (300, 200, 118), 128: (238, 108, 60), 96: (246, 54, 28), 64: (66, 34, 20)}
Spent = Callable[[Sequence[PruningStage]], float]


def scale_layers(layers: Sequence[int], num_layers: int) -> tuple[int, ...]:
    """Move the layers of a 32-layer model to the same fraction of depth, rounded down.

    8 layers: (2, 6, 15) -> (0, 1, 3). Layers that fall together are kept once.
    """
    return tuple(sorted({layer * num_layers // OFFICIAL_NUM_LAYERS for layer in layers}))


def check_budget(tokens: object, num_layers: object, num_visual: object) -> None:
    """Check a budget against the model.

    Raises
    ------
    ValueError
        If the budget is not an integer from 1 to ``num_visual``, or the model has no layers.
    """
    for name, value in (("num_layers", num_layers), ("num_visual", num_visual)):
        if not is_int(value) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    if not is_int(tokens) or not 1 <= tokens <= num_visual:
        raise ValueError(
            f"tokens (the budget: mean visual tokens left by each layer) must be an integer from 1 "
            f"to {num_visual}, the number of visual tokens; got {tokens!r}"
        )


def schedule_for(
    tokens: int,
    num_layers: int = OFFICIAL_NUM_LAYERS,
    num_visual: int = OFFICIAL_NUM_VISUAL,
    *,
    recycle: float = RECYCLE_FRACTION,
    layers: Sequence[int] | None = None,
    lists: Mapping[int, tuple[int, int, int]] = OFFICIAL_KEEP,
    always_drop: bool | None = None,
) -> tuple[PruningStage, ...]:
    """Stages whose mean ``tokens_out`` meets the budget within one token.

    Parameters
    ----------
    tokens
        The budget: mean over the layers of the visual tokens left, recycled ones included.
    num_layers, num_visual
        Decoder layers of the model and visual tokens of the image.
    recycle
        Share of the dropped tokens recycled at every stage; 0 for none.
    layers
        Stages come after these 0-based layers. Default: (2, 6, 15) of 32, scaled with the depth.
    lists
        Official counts by budget: `OFFICIAL_KEEP` or `PLUS_KEEP`.
    always_drop
        See `schedule.tokens_per_layer`.

    Returns
    -------
    tuple of PruningStage
        The official list where one exists (32 layers, 576 visual tokens, recycling as released,
        default layers); else the official lists' shape, interpolated in the budget.

    Raises
    ------
    ValueError
        For a budget that is no whole number from 1 to ``num_visual`` or out of reach of the given
        layers, and for layers outside the model.
    """
    check_budget(tokens, num_layers, num_visual)
    released = recycle == (0 if lists is PLUS_KEEP else RECYCLE_FRACTION)
    official = layers is None and released and tokens in lists
    if official and (num_layers, num_visual) == (OFFICIAL_NUM_LAYERS, OFFICIAL_NUM_VISUAL):
        return tuple(
            PruningStage(*pair) for pair in zip(OFFICIAL_LAYERS, lists[tokens], strict=True)
        )
    places = _places(layers, num_layers)
    check_stages([PruningStage(layer) for layer, _ in places], num_layers)

    def stages_at(share: float) -> tuple[PruningStage, ...]:
        return _in_official_shape(share, places, num_visual, lists)

    def spent(stages: Sequence[PruningStage]) -> float:
        return mean_tokens_out(
            stages, num_layers, num_visual, recycle=recycle, always_drop=always_drop
        )

    stages = _trim(_closest(stages_at, spent, tokens), spent, tokens)
    if abs(spent(stages) - tokens) > 1:
        fewest, most = spent(stages_at(0.0)), spent(stages_at(1.0))
        raise ValueError(
            f"a budget of {tokens} tokens is impossible with stages after layers "
            f"{[layer for layer, _ in places]} of {num_layers}: they reach {fewest:.1f} to "
            f"{most:.1f}. Use another budget, or other layers"
        )
    return stages


def _places(layers: Sequence[int] | None, num_layers: int) -> list[tuple[int, float]]:
    """Pair every layer with its place (0 to 2) among the three official stages."""
    if layers is None:
        # Where two scaled layers fall together the later, smaller stage is the one that holds.
        placed = {
            layer * num_layers // OFFICIAL_NUM_LAYERS: float(stage)
            for stage, layer in enumerate(OFFICIAL_LAYERS)
        }
        return sorted((layer, stage) for layer, stage in placed.items())
    if not layers:
        raise ValueError("layers must name at least one layer to prune after")
    last = max(len(layers) - 1, 1)
    return [(layer, 2.0 * stage / last) for stage, layer in enumerate(layers)]


def _in_official_shape(
    share: float,
    places: Sequence[tuple[int, float]],
    num_visual: int,
    lists: Mapping[int, tuple[int, int, int]],
) -> tuple[PruningStage, ...]:
    """Stages at a ``share`` in [0, 1]: the official lists, interpolated (0: one token, 1: all)."""
    knots = [(0.0, (0.0, 0.0, 0.0)), (1.0, (1.0, 1.0, 1.0))]
    knots += [
        (budget / OFFICIAL_NUM_VISUAL, tuple(k / OFFICIAL_NUM_VISUAL for k in keep))
        for budget, keep in lists.items()
    ]
    knots.sort()
    (low, shape_low), (high, shape_high) = next(
        pair for pair in zip(knots, knots[1:], strict=False) if share <= pair[1][0]
    )
    weight = (share - low) / (high - low)
    shape = [a + weight * (b - a) for a, b in zip(shape_low, shape_high, strict=True)]
    stages: list[PruningStage] = []
    for layer, stage in places:
        left = min(int(stage), 1)
        fraction = shape[left] + (stage - left) * (shape[left + 1] - shape[left])
        keep = max(1, round(fraction * num_visual))
        stages.append(PruningStage(layer, min(keep, stages[-1].keep) if stages else keep))
    return tuple(stages)


def _closest(
    stages_at: Callable[[float], tuple[PruningStage, ...]], spent: Spent, tokens: int
) -> tuple[PruningStage, ...]:
    """Bisect the share; ``spent`` rises with it but for rounding, which `_trim` repairs."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(stages_at(middle)) < tokens else (low, middle)
    return min((stages_at(low), stages_at(high)), key=lambda stages: abs(spent(stages) - tokens))


def _trim(stages: tuple[PruningStage, ...], spent: Spent, tokens: int) -> tuple[PruningStage, ...]:
    """Move single tokens, last stage first, while that brings the budget closer."""
    best = stages
    for _ in range(4 * len(stages)):
        candidates = [best]
        for index, stage in enumerate(best):
            upper = best[index - 1].keep if index else math.inf
            lower = best[index + 1].keep if index + 1 < len(best) else 1
            for keep in (stage.keep - 1, stage.keep + 1):
                if lower <= keep <= upper:
                    changed = PruningStage(stage.layer, keep)
                    candidates.append(best[:index] + (changed,) + best[index + 1 :])
        better = min(reversed(candidates), key=lambda c: abs(spent(c) - tokens))
        if abs(spent(better) - tokens) >= abs(spent(best) - tokens):
            break
        best = better
    return best
