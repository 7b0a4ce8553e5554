"""What colour every token has at every position of the layer slider. Pure.

A painting is a list of codes per frame of the slider, and a palette that the codes index.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

from sparsevlm.explorer.run import Run
from sparsevlm.explorer.view import palette
from sparsevlm.explorer.view import token_status as fate
from sparsevlm.explorer.view.palette import LEVELS, Look

MODES = ("fate", "life", "score", "attention")


@dataclass(frozen=True)
class Painting:
    """Colours of one panel.

    Attributes
    ----------
    looks
        The palette.
    codes
        Lists of indices into `looks`, one per original token.
    at
        For every position of the slider, which list of codes.
    """

    looks: tuple[Look, ...]
    codes: tuple[tuple[int, ...], ...]
    at: tuple[int, ...]


@dataclass(frozen=True)
class Choice:
    """What is painted.

    Attributes
    ----------
    mode
        "fate": what every token is at this layer; "life": at which cut it was lost; "score": by
        what it was judged; "attention": the rows of the raters.
    head, word
        For "attention": one head, one rating word; ``None``: the mean.

    Raises
    ------
    ValueError
        For an unknown mode.
    """

    mode: str = "fate"
    head: int | None = None
    word: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"unknown mode {self.mode!r}; known: {', '.join(MODES)}")


def paint(run: Run, choice: Choice) -> Painting:
    """Paint one run."""
    if choice.mode == "life":
        return _life(run)
    if choice.mode == "fate":
        through = fate.segments(run.sample)
        codes = tuple(_fate_codes(stage) for stage in through)
        return Painting(palette.FATE, codes, _stage_at(run))
    levels = _scores if choice.mode == "score" else _attention
    positions = range(len(run.sample.tokens_in) + 1)
    codes = [_heat_codes(levels(run, position, choice), run) for position in positions]
    return Painting(palette.HEAT, tuple(codes), tuple(positions))


def difference(first: Run, second: Run) -> Painting:
    """Who keeps what: both, neither, only the first, only the second."""
    one, two = fate.segments(first.sample), fate.segments(second.sample)
    pairs = list(zip(_stage_at(first), _stage_at(second), strict=True))
    known = sorted(set(pairs))
    codes = []
    for a, b in known:
        in_one, in_two = set(one[a].kept), set(two[b].kept)
        table = {(True, True): 0, (False, False): 1, (True, False): 2, (False, True): 3}
        tokens = range(first.sample.num_visual)
        codes.append(tuple(table[token in in_one, token in in_two] for token in tokens))
    return Painting(palette.DIFFERENCE, tuple(codes), tuple(known.index(pair) for pair in pairs))


def legend(run: Run, choice: Choice) -> list[tuple[Look | str, str]]:
    """What the colours mean: (look or CSS gradient, text); the exact quantity for a heat map."""
    if choice.mode == "fate":
        return [
            (palette.KEPT, "kept as itself"),
            (palette.RECYCLED[0], "recycled (a colour per group)"),
            (palette.JUST_DROPPED, "dropped at the last cut"),
            (palette.DROPPED, "dropped before"),
        ]
    if choice.mode == "life":
        looks = palette.life(len(run.sample.stages))
        named = [(palette.KEPT, "kept to the end")]
        for number, stage in enumerate(run.sample.stages):
            where = "at the input" if stage.layer < 0 else f"after layer {stage.layer}"
            named.append((looks[1 + 2 * number], f"lost its place {where}"))
        return [*named, (Look("#bbbbbb", 1.0, "#ffffff"), "recycled at the end")]
    bar = "linear-gradient(90deg," + ",".join(palette.CIVIDIS) + ")"
    scale = "0 to 1" if choice.mode == "score" else "1e-6 to 1e-1, logarithmic"
    return [(bar, f"{scale}: {quantity(run, choice)}"), (palette.ABSENT, "no longer there")]


def difference_legend(first: str, second: str) -> list[tuple[Look | str, str]]:
    """The same for `difference`."""
    texts = ("kept by both", "kept by neither", f"only by {first}", f"only by {second}")
    return list(zip(palette.DIFFERENCE, texts, strict=True))


def quantity(run: Run, choice: Choice) -> str:
    """The quantity of a heat map, exactly."""
    if choice.mode == "score":
        if not any(stage.scores for stage in run.sample.stages):
            return "this method has no scores"
        corrected = ", corrected for distance" if run.pruner.get("gravity") else ""
        return (
            "share of tokens with a lower score at the latest cut; score is the softmax attention"
            f"{corrected}, mean over heads and raters"
        )
    if run.attention is None:
        return "attention was not recorded"
    words = run.attention.words if choice.word is None else (choice.word,)
    named = ", ".join(f"“{run.words[word]}”" for word in words)
    mean = "mean of " if len(words) > 1 else ""
    head = "mean over heads" if choice.head is None else f"head {choice.head}"
    return f"softmax attention of {mean}{named} in this layer of the pruned model, {head}"


def _stage_at(run: Run) -> tuple[int, ...]:
    positions = range(len(run.sample.tokens_in) + 1)
    return tuple(fate.segment_of_position(run.sample, position) for position in positions)


def _fate_codes(stage: fate.Segment) -> tuple[int, ...]:
    def code(found: fate.Fate) -> int:
        if found.state == fate.KEPT:
            return 0
        if found.state == fate.DROPPED:
            return 1 if found.since == stage.layer else 2
        return 3 + found.group % len(palette.RECYCLED)

    return tuple(code(found) for found in stage.fates)


def _life(run: Run) -> Painting:
    layers = [stage.layer for stage in run.sample.stages]
    last = fate.segments(run.sample)[-1]
    codes = tuple(
        0 if found.state == fate.KEPT
        else 1 + 2 * layers.index(found.since) + (found.state == fate.RECYCLED)
        for found in last.fates
    )  # fmt: skip
    positions = len(run.sample.tokens_in) + 1
    return Painting(palette.life(len(layers)), (codes,), (0,) * positions)


def _scores(run: Run, position: int, choice: Choice) -> dict[int, int]:
    """Levels by rank at the latest cut, or before any at the first; nothing without scores."""
    stages = [stage for stage in run.sample.stages if stage.scores]
    done = [stage for stage in stages if stage.layer < position]
    if not stages:
        return {}
    stage = done[-1] if done else stages[0]
    order = sorted(stage.scores)
    most = max(1, len(order) - 1)
    return {
        identity: min(LEVELS - 1, int(bisect_left(order, score) / most * LEVELS))
        for identity, score in zip(stage.score_ids, stage.scores, strict=True)
    }


def _attention(run: Run, position: int, choice: Choice) -> dict[int, int]:
    """Levels by attention in the layer before a position; before any, in layer 0."""
    if run.attention is None:
        return {}
    values = run.attention.values(max(position - 1, 0), choice.head, choice.word)
    return {identity: level(value) for identity, value in values.items()}


def _heat_codes(levels: dict[int, int], run: Run) -> tuple[int, ...]:
    """Codes of the levels; a recycled token colours all the patches that were merged into it."""
    codes = [0] * run.sample.num_visual
    groups = _members(run)
    for identity, found in levels.items():
        for token in groups.get(identity, (identity,)):
            codes[token] = 1 + found
    return tuple(codes)


def _members(run: Run) -> dict[int, tuple[int, ...]]:
    found = {}
    for stage in run.sample.stages:
        found |= dict(zip(stage.group_ids, map(tuple, stage.groups), strict=True))
    return found


def level(value: float) -> int:
    """Colour level of a value on the fixed scale."""
    if value <= 0:
        return 0
    share = (math.log10(value) - palette.LOWEST) / (palette.HIGHEST - palette.LOWEST)
    return max(0, min(LEVELS - 1, int(share * LEVELS)))
