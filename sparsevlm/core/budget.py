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
    as_int,
    as_layers,
    check_stages,
    mean_tokens_out,
)

OFFICIAL_LAYERS = (2, 6, 15)
OFFICIAL_NUM_LAYERS = 32
OFFICIAL_NUM_VISUAL = 576
# v1.5 has 192, 128 and 64; 96 was added, unchanged in every other way, by v2.0 in mode 1_0.
OFFICIAL_KEEP = {192: (300, 200, 110), 128: (303, 110, 36), 96: (238, 48, 26), 64: (66, 30, 17)}
# v2.0 in mode 2_0 (SparseVLM+), which does not recycle.
PLUS_KEEP = {192: (300, 200, 118), 128: (238, 108, 60), 96: (246, 54, 28), 64: (66, 34, 20)}
Counts = tuple[int, ...]
Spent = Callable[[Counts], float]


def scale_layers(layers: Sequence[int], num_layers: int) -> tuple[int, ...]:
    """Move the layers of a 32-layer model to the same fraction of depth, rounded down.

    8 layers: (2, 6, 15) -> (0, 1, 3). Layers that fall together are kept once.
    """
    return tuple(sorted({layer * num_layers // OFFICIAL_NUM_LAYERS for layer in layers}))


def check_budget(tokens: int, num_layers: int, num_visual: int) -> tuple[int, int, int]:
    """The three as plain ints, after checking the budget against the model.

    Raises
    ------
    ValueError
        If the budget is not an integer from 1 to ``num_visual``, or the model has no layers.
    """
    num_layers = as_int("num_layers", num_layers, 1)
    num_visual = as_int("num_visual", num_visual, 1)
    budget = "tokens (the budget: mean visual tokens left by each layer)"
    return as_int(budget, tokens, 1, most=num_visual), num_layers, num_visual


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
    tokens, num_layers, num_visual = check_budget(tokens, num_layers, num_visual)
    released = recycle == (0 if lists is PLUS_KEEP else RECYCLE_FRACTION)
    official = layers is None and released and tokens in lists
    if official and (num_layers, num_visual) == (OFFICIAL_NUM_LAYERS, OFFICIAL_NUM_VISUAL):
        return tuple(
            PruningStage(*pair) for pair in zip(OFFICIAL_LAYERS, lists[tokens], strict=True)
        )
    places = _places(layers, num_layers)
    after = [layer for layer, _ in places]
    check_stages([PruningStage(layer) for layer in after], num_layers)

    def stages_of(counts: Counts) -> tuple[PruningStage, ...]:
        return tuple(map(PruningStage, after, counts))

    def counts_at(share: float) -> Counts:
        return _in_official_shape(share, [place for _, place in places], num_visual, lists)

    def spent(counts: Counts) -> float:
        return mean_tokens_out(
            stages_of(counts), num_layers, num_visual, recycle=recycle, always_drop=always_drop
        )

    counts = _trim(_closest(counts_at, spent, tokens), spent, tokens)
    if abs(spent(counts) - tokens) > 1:
        fewest, most = spent(counts_at(0.0)), spent(counts_at(1.0))
        raise ValueError(
            f"a budget of {tokens} tokens is impossible with stages after layers {after} of "
            f"{num_layers}: they reach {fewest:.1f} to {most:.1f}. Use another budget, or other "
            "layers"
        )
    return stages_of(counts)


def _places(layers: Sequence[int] | None, num_layers: int) -> list[tuple[int, float]]:
    """Pair every layer with its place (0 to 2) among the three official stages."""
    if layers is None:
        # Where two scaled layers fall together the later, smaller stage is the one that holds.
        placed = {
            layer * num_layers // OFFICIAL_NUM_LAYERS: float(stage)
            for stage, layer in enumerate(OFFICIAL_LAYERS)
        }
        return sorted((layer, stage) for layer, stage in placed.items())
    layers = as_layers(layers)
    last = max(len(layers) - 1, 1)
    return [(layer, 2.0 * stage / last) for stage, layer in enumerate(layers)]


def _in_official_shape(
    share: float,
    places: Sequence[float],
    num_visual: int,
    lists: Mapping[int, tuple[int, int, int]],
) -> Counts:
    """Counts at a ``share`` in [0, 1]: the official lists, interpolated (0: one token, 1: all)."""
    knots: list[tuple[float, tuple[float, ...]]] = [(0.0, (0.0,) * 3), (1.0, (1.0,) * 3)]
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
    counts: list[int] = []
    for place in places:
        left = min(int(place), 1)
        fraction = shape[left] + (place - left) * (shape[left + 1] - shape[left])
        counts.append(min([max(1, round(fraction * num_visual)), *counts[-1:]]))
    return tuple(counts)


def _closest(counts_at: Callable[[float], Counts], spent: Spent, tokens: int) -> Counts:
    """Bisect the share; ``spent`` rises with it but for rounding, which `_trim` repairs."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(counts_at(middle)) < tokens else (low, middle)
    return min((counts_at(low), counts_at(high)), key=lambda counts: abs(spent(counts) - tokens))


def _trim(counts: Counts, spent: Spent, tokens: int) -> Counts:
    """Move single tokens, last stage first, while that brings the budget closer."""
    best = counts
    for _ in range(4 * len(counts)):
        candidates = [best]
        for index, count in enumerate(best):
            upper = best[index - 1] if index else math.inf
            lower = best[index + 1] if index + 1 < len(best) else 1
            for keep in (count - 1, count + 1):
                if lower <= keep <= upper:
                    candidates.append((*best[:index], keep, *best[index + 1 :]))
        better = min(reversed(candidates), key=lambda c: abs(spent(c) - tokens))
        if abs(spent(better) - tokens) >= abs(spent(best) - tokens):
            break
        best = better
    return best
