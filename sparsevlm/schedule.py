"""Where visual tokens are cut and how many stay: cuts, token accounting and the budget solver.

Source
------
Paper, section 3.4 and the lists of the official v1.5 release (`score.py`, `sparse_token_list_*`).

Difference
----------
The official code has lists for 32 layers and 576 visual tokens only; here any budget, depth and
image size is solved for in the same shape. See DEVIATIONS.md.

Notes
-----
Two averages over the layers describe a schedule (merged tokens count like any other):

* ``tokens_out``: visual tokens *left* by each layer. This is the paper's "192 / 128 / 64 tokens".
* ``tokens_in``: visual tokens *entering* each layer. This is what is computed and paid for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

OFFICIAL_LAYERS = (2, 6, 15)
OFFICIAL_NUM_LAYERS = 32
OFFICIAL_NUM_VISUAL = 576
# v1.5 has 192, 128 and 64; 96 was added, unchanged in every other way, by v2.0 in mode 1_0.
OFFICIAL_KEEP = {192: (300, 200, 110), 128: (303, 110, 36), 96: (238, 48, 26), 64: (66, 30, 17)}
RECYCLE_FRACTION = 0.3
CLUSTER_DIVISOR = 10


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True, order=True)
class Cut:
    """One place where visual tokens are dropped.

    Parameters
    ----------
    after_layer
        0-based decoder layer whose output is cut; ``-1`` cuts the input of layer 0.
    keep
        Number of visual tokens that stay, recycled ones not counted. ``None`` leaves the count to
        the sparsification level measured at run time.

    Raises
    ------
    ValueError
        If ``after_layer`` is not an integer of at least -1, or ``keep`` not one of at least 1.
    """

    after_layer: int
    keep: int | None = None

    def __post_init__(self) -> None:
        if not _is_int(self.after_layer) or self.after_layer < -1:
            raise ValueError(
                f"after_layer must be an integer of at least -1, got {self.after_layer!r}"
            )
        if self.keep is not None and (not _is_int(self.keep) or self.keep < 1):
            raise ValueError(f"keep must be an integer of at least 1, got {self.keep!r}")


def check_cuts(cuts: Sequence[Cut], num_layers: int | None = None) -> tuple[Cut, ...]:
    """Return the cuts as a tuple after checking order and range.

    Raises
    ------
    ValueError
        If a layer comes twice or out of order, a later cut keeps more than an earlier one, or a
        cut lies outside a model of ``num_layers`` layers.
    """
    cuts = tuple(cuts)
    for before, after in zip(cuts, cuts[1:], strict=False):
        if after.after_layer <= before.after_layer:
            raise ValueError(
                f"the cuts must be in ascending order of layers, got {before} before {after}"
            )
        if before.keep is not None and after.keep is not None and after.keep > before.keep:
            raise ValueError(f"a later cut cannot keep more than an earlier one: {before}, {after}")
    if num_layers is not None and cuts and cuts[-1].after_layer > num_layers - 2:
        raise ValueError(
            f"the cut after layer {cuts[-1].after_layer} lies outside the model: with {num_layers} "
            f"layers the cuts may come after layers -1 to {num_layers - 2} (after the last layer "
            "nothing is left to save)"
        )
    return cuts


def recycled_counts(num_dropped: int, fraction: float = RECYCLE_FRACTION) -> tuple[int, int]:
    """Number of dropped tokens that are recycled, and of groups they are merged into.

    Parameters
    ----------
    num_dropped
        Visual tokens dropped by one cut.
    fraction
        The share tau of them that is recycled; 0 switches recycling off.

    Source
    ------
    v1.5 `modelling_sparse_llama.py`: ``int(n * 0.3) + 1`` tokens in ``int(that / 10) + 1`` groups.
    """
    if num_dropped <= 0 or fraction == 0:
        return 0, 0
    recycled = min(int(num_dropped * fraction) + 1, num_dropped)
    return recycled, int(recycled / CLUSTER_DIVISOR) + 1


def kept_count(keep: int, num_current: int, fraction: float = RECYCLE_FRACTION) -> int:
    """Clamp ``keep`` to the current number of visual tokens.

    With recycling at least one token is dropped, as in the official code (`min(k, n - 1)`).
    """
    return max(0, min(keep, num_current - 1 if fraction > 0 else num_current))


def tokens_per_layer(
    cuts: Sequence[Cut],
    num_layers: int,
    num_visual: int,
    recycle: float = RECYCLE_FRACTION,
    scored_layer: str = "this",
) -> tuple[list[int], list[int]]:
    """Visual tokens entering and leaving every layer, recycled ones included.

    Parameters
    ----------
    cuts
        Cuts with fixed counts.
    num_layers, num_visual
        Decoder layers of the model and visual tokens of the image.
    recycle
        Share of the dropped tokens that is recycled at every cut.
    scored_layer
        ``"this"``: the cut after layer l belongs to layer l, which then *leaves* fewer tokens.
        ``"next"`` (PyramidDrop, ToMe): the cut is made at the entry of layer l + 1, so layer l
        leaves what it processed.

    Returns
    -------
    tokens_in, tokens_out
        Two lists of ``num_layers`` integers.
    """
    cuts = check_cuts(cuts, num_layers)
    keep_after = {cut.after_layer: cut.keep for cut in cuts}
    current, tokens_in, tokens_out = num_visual, [], []
    for layer in range(-1, num_layers):
        entering = current
        if layer in keep_after:
            kept = kept_count(keep_after[layer], current, recycle)
            current = kept + recycled_counts(current - kept, recycle)[1]
        if layer >= 0:
            tokens_in.append(entering)
            tokens_out.append(current if scored_layer == "this" else entering)
    return tokens_in, tokens_out


def mean_tokens_out(cuts: Sequence[Cut], num_layers: int, num_visual: int, **how: object) -> float:
    """Mean over the layers of the visual tokens left by each layer: the paper's budget."""
    return math.fsum(tokens_per_layer(cuts, num_layers, num_visual, **how)[1]) / num_layers


def mean_tokens_in(cuts: Sequence[Cut], num_layers: int, num_visual: int, **how: object) -> float:
    """Mean over the layers of the visual tokens entering each layer: what is computed."""
    return math.fsum(tokens_per_layer(cuts, num_layers, num_visual, **how)[0]) / num_layers


def scale_layers(layers: Sequence[int], num_layers: int) -> tuple[int, ...]:
    """Move cut layers of a 32-layer model to the same fraction of depth, rounded down.

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
        if not _is_int(value) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    if not _is_int(tokens) or not 1 <= tokens <= num_visual:
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
) -> tuple[Cut, ...]:
    """Cuts whose mean ``tokens_out`` meets the budget within one token.

    Parameters
    ----------
    tokens
        The budget: mean over the layers of the visual tokens left, recycled ones included.
    num_layers, num_visual
        Decoder layers of the model and visual tokens of the image.
    recycle
        Share of the dropped tokens recycled at every cut; 0 for none.
    layers
        Cut after these 0-based layers. Default: (2, 6, 15) of 32, scaled with the depth.

    Returns
    -------
    tuple of Cut
        The official list where one exists (32 layers, 576 visual tokens, default recycling and
        layers); else the official lists' shape, interpolated in the budget.

    Raises
    ------
    ValueError
        For a budget that is no whole number from 1 to ``num_visual`` or out of reach of the given
        layers, and for layers outside the model.
    """
    check_budget(tokens, num_layers, num_visual)
    official = layers is None and recycle == RECYCLE_FRACTION and tokens in OFFICIAL_KEEP
    if official and (num_layers, num_visual) == (OFFICIAL_NUM_LAYERS, OFFICIAL_NUM_VISUAL):
        keep = OFFICIAL_KEEP[tokens]
        return tuple(Cut(*pair) for pair in zip(OFFICIAL_LAYERS, keep, strict=True))
    stages = _stages(layers, num_layers)
    check_cuts([Cut(layer) for layer, _ in stages], num_layers)

    def cuts_at(level: float) -> tuple[Cut, ...]:
        return _shaped_cuts(level, stages, num_visual)

    def spent(cuts: Sequence[Cut]) -> float:
        return mean_tokens_out(cuts, num_layers, num_visual, recycle=recycle)

    cuts = _closest(cuts_at, spent, tokens)
    cuts = _trim(cuts, spent, tokens)
    if abs(spent(cuts) - tokens) > 1:
        fewest, most = spent(cuts_at(0.0)), spent(cuts_at(1.0))
        raise ValueError(
            f"a budget of {tokens} tokens is impossible with cuts after layers "
            f"{[layer for layer, _ in stages]} of {num_layers}: they reach {fewest:.1f} to "
            f"{most:.1f}. Use another budget, or cut at other layers"
        )
    return cuts


def _stages(layers: Sequence[int] | None, num_layers: int) -> list[tuple[int, float]]:
    """Pair every cut layer with its place (0 to 2) among the three official stages."""
    if layers is None:
        # Where two scaled layers fall together the later, smaller stage is the one that holds.
        placed = {layer * num_layers // OFFICIAL_NUM_LAYERS: float(stage)
                  for stage, layer in enumerate(OFFICIAL_LAYERS)}
        return sorted((layer, stage) for layer, stage in placed.items())
    if not layers:
        raise ValueError("layers must name at least one layer to cut after")
    last = max(len(layers) - 1, 1)
    return [(layer, 2.0 * stage / last) for stage, layer in enumerate(layers)]


def _shaped_cuts(
    level: float, stages: Sequence[tuple[int, float]], num_visual: int
) -> tuple[Cut, ...]:
    """Cuts at ``level`` in [0, 1]: the official lists, interpolated (0: one token, 1: all)."""
    knots = [(0.0, (0.0, 0.0, 0.0)), (1.0, (1.0, 1.0, 1.0))]
    knots += [
        (budget / OFFICIAL_NUM_VISUAL, tuple(k / OFFICIAL_NUM_VISUAL for k in keep))
        for budget, keep in OFFICIAL_KEEP.items()
    ]
    knots.sort()
    (low, shape_low), (high, shape_high) = next(
        pair for pair in zip(knots, knots[1:], strict=False) if level <= pair[1][0]
    )
    weight = (level - low) / (high - low)
    shape = [a + weight * (b - a) for a, b in zip(shape_low, shape_high, strict=True)]
    cuts: list[Cut] = []
    for layer, stage in stages:
        left = min(int(stage), 1)
        fraction = shape[left] + (stage - left) * (shape[left + 1] - shape[left])
        keep = max(1, round(fraction * num_visual))
        cuts.append(Cut(layer, min(keep, cuts[-1].keep) if cuts else keep))
    return tuple(cuts)


def _closest(cuts_at, spent, tokens: int) -> tuple[Cut, ...]:
    """Bisect the level; ``spent`` rises with it but for rounding, which `_trim` repairs."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(cuts_at(middle)) < tokens else (low, middle)
    return min((cuts_at(low), cuts_at(high)), key=lambda cuts: abs(spent(cuts) - tokens))


def _trim(cuts: tuple[Cut, ...], spent, tokens: int) -> tuple[Cut, ...]:
    """Move single tokens, last cut first, while that brings the budget closer."""
    best = cuts
    for _ in range(4 * len(cuts)):
        candidates = [best]
        for index, cut in enumerate(best):
            upper = best[index - 1].keep if index else math.inf
            lower = best[index + 1].keep if index + 1 < len(best) else 1
            for keep in (cut.keep - 1, cut.keep + 1):
                if lower <= keep <= upper:
                    changed = Cut(cut.after_layer, keep)
                    candidates.append(best[:index] + (changed,) + best[index + 1 :])
        better = min(reversed(candidates), key=lambda c: abs(spent(c) - tokens))
        if abs(spent(better) - tokens) >= abs(spent(best) - tokens):
            break
        best = better
    return best
