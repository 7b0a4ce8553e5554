"""Where visual tokens are dropped and how many stay: stages and token accounting.

Source
------
Paper, section 3.4; the token counter and recycling counts of the official v1.5 release.

Notes
-----
Two averages over the layers describe a schedule (merged tokens count like any other):

* ``tokens_out``: visual tokens *left* by each layer. This is the paper's "192 / 128 / 64 tokens".
* ``tokens_in``: visual tokens *entering* each layer. This is what is computed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

RECYCLE_FRACTION = 0.3
CLUSTER_DIVISOR = 10


def plain(value: Any) -> Any:
    """A number of NumPy or torch, or what stands for an integer, as Python's own; else as it is."""
    shape = getattr(value, "shape", ())
    if hasattr(value, "item") and shape == ():
        value = value.item()
    if shape == () and not isinstance(value, bool) and hasattr(value, "__index__"):
        value = operator.index(value)
    return value


def as_int(name: str, value: Any, least: int, most: int | None = None) -> int:
    """A count as a plain int, so that records and ids do not depend on where it comes from.

    Raises
    ------
    ValueError
        If it is no integer (True, 64.0 and "64" are none), below ``least`` or above ``most``.
    """
    number = plain(value)
    if type(number) is not int or number < least or (most is not None and number > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be an integer {span}, got {value!r}")
    return number


def as_layers(layers: Any) -> tuple[int, ...]:
    """Layers to prune after, as plain ints.

    Raises
    ------
    ValueError
        If they are no sequence of integers of at least -1, or none.
    """
    try:
        found = tuple(layers)
    except TypeError:
        raise ValueError(f"layers must be a sequence such as (2, 6, 15), got {layers!r}") from None
    if not found:
        raise ValueError("layers must name at least one layer to prune after")
    return tuple(as_int("a layer to prune after", layer, -1) for layer in found)


@dataclass(frozen=True, order=True)
class PruningStage:
    """One place where visual tokens are dropped.

    Parameters
    ----------
    layer
        0-based decoder layer whose output loses tokens; ``-1``: the input of layer 0 does.
    keep
        Number of visual tokens that stay, at least 1, recycled ones not counted. ``None`` leaves
        the count to the sparsification level measured at run time.
    """

    layer: int
    keep: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer", as_int("layer", self.layer, -1))
        if self.keep is not None:
            object.__setattr__(self, "keep", as_int("keep", self.keep, 1))


def check_stages(
    stages: Sequence[PruningStage], num_layers: int | None = None
) -> tuple[PruningStage, ...]:
    """Return the stages as a tuple after checking order and range.

    Raises
    ------
    ValueError
        If a layer comes twice or out of order, a later stage keeps more than an earlier one, or a
        stage lies outside a model of ``num_layers`` layers.
    """
    stages = tuple(stages)
    for before, after in zip(stages, stages[1:], strict=False):
        if after.layer <= before.layer:
            raise ValueError(
                f"the stages must be in ascending order of layers, got {before} before {after}"
            )
        if before.keep is not None and after.keep is not None and after.keep > before.keep:
            raise ValueError(
                f"a later stage cannot keep more than an earlier one: {before}, {after}"
            )
    if num_layers is not None and stages and stages[-1].layer > num_layers - 2:
        raise ValueError(
            f"the stage after layer {stages[-1].layer} lies outside the model: with {num_layers} "
            f"layers stages may come after layers -1 to {num_layers - 2} (after the last layer "
            "nothing is left to save)"
        )
    return stages


def recycled_counts(num_dropped: int, fraction: float = RECYCLE_FRACTION) -> tuple[int, int]:
    """Number of dropped tokens that are recycled, and of groups they are merged into.

    Parameters
    ----------
    num_dropped
        Visual tokens dropped by one stage.
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


def kept_count(
    keep: int, num_current: int, always_drop: bool = True, recycle: float = RECYCLE_FRACTION
) -> int:
    """Clamp ``keep`` to the current number of visual tokens.

    With ``always_drop`` at least one token is dropped, as in the official code (`min(k, n - 1)`);
    without recycling the last one stays, as nothing would be left.
    """
    fewest = 0 if recycle else min(num_current, 1)
    return max(fewest, min(keep, num_current - 1 if always_drop else num_current))


def tokens_per_layer(
    stages: Sequence[PruningStage],
    num_layers: int,
    num_visual: int,
    recycle: float = RECYCLE_FRACTION,
    counted_layer: str = "this",
    always_drop: bool | None = None,
) -> tuple[list[int], list[int]]:
    """Two lists: visual tokens entering and leaving every layer, recycled ones included.

    Parameters
    ----------
    stages
        Stages with fixed counts.
    num_layers, num_visual
        Decoder layers of the model and visual tokens of the image.
    recycle
        Share of the dropped tokens that is recycled at every stage.
    counted_layer
        ``"this"``: the stage after layer l belongs to layer l, which then *leaves* fewer tokens.
        ``"next"`` (PyramidDrop, ToMe): it belongs to the entry of layer l + 1, so layer l
        leaves what it processed.
    always_drop
        Whether every stage drops at least one token. Default: while there is recycling.
    """
    stages, num_layers = check_stages(stages, num_layers), plain(num_layers)
    always_drop = recycle > 0 if always_drop is None else always_drop
    keep_after = {stage.layer: stage.keep for stage in stages}
    current, tokens_in, tokens_out = plain(num_visual), [], []
    for layer in range(-1, num_layers):
        entering = current
        if (keep := keep_after.get(layer)) is not None:
            kept = kept_count(keep, current, always_drop, recycle)
            current = kept + recycled_counts(current - kept, recycle)[1]
        if layer >= 0:
            tokens_in.append(entering)
            tokens_out.append(current if counted_layer == "this" else entering)
    return tokens_in, tokens_out


def mean_tokens_out(
    stages: Sequence[PruningStage], num_layers: int, num_visual: int, **how: Any
) -> float:
    """Mean over the layers of the visual tokens left by each layer: the paper's budget."""
    return math.fsum(tokens_per_layer(stages, num_layers, num_visual, **how)[1]) / num_layers


def mean_tokens_in(
    stages: Sequence[PruningStage], num_layers: int, num_visual: int, **how: Any
) -> float:
    """Mean over the layers of the visual tokens entering each layer: what is computed."""
    return math.fsum(tokens_per_layer(stages, num_layers, num_visual, **how)[0]) / num_layers
