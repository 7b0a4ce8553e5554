"""What color every token has at every position of the layer slider.

The colors are those of the figures. What a color says is said without color too: a kept token is
outlined, a recycled one has a dot, a dropped one is pale.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sparsevlm.analysis.survivors import GROUP_COLORS, rgb
from sparsevlm.explorer import token_status as status
from sparsevlm.explorer.attention import DECADES
from sparsevlm.explorer.exploration import Exploration

MODES = ("status", "lost", "score", "attention")
RIGHT, WRONG = "#00795A", "#B00020"
GRAY = "#8c8c8c"  # of an average image
# Cividis (Nunez, Anderton and Renslow 2018): the same order for common color-vision deficiencies.
CIVIDIS = ("#00224E", "#123570", "#3B496C", "#575D6D", "#707173", "#8A8678", "#A59C74", "#C3B369",
           "#E1CC55", "#FEE838")  # fmt: skip
LEVELS = 28
# Those of the figures and two more: with eight, groups that touch have differed in every trace.
HUES = (*GROUP_COLORS, "#882255", "#999933")
FIRST_LOST, LAST_LOST = "#f4f1ea", "#D55E00"


def mixed(first: str, second: str, share: float) -> str:
    """``share`` of the second color in the first."""
    pairs = zip(rgb(first), rgb(second), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def heat_color(level: int) -> str:
    """Color of a level from 0 to ``LEVELS - 1``."""
    place = level / (LEVELS - 1) * (len(CIVIDIS) - 1)
    first = min(int(place), len(CIVIDIS) - 2)
    return mixed(CIVIDIS[first], CIVIDIS[first + 1], place - first)


class TokenStyle(NamedTuple):
    """How a token is drawn.

    `color` is washed over the image and covers a `share` of it (0: nothing). A dot (its color, or
    "") marks a recycled token or one side of a comparison; `outlined` tokens, the kept ones, belong
    to the region with a dark outline.
    """

    color: str = "#ffffff"
    share: float = 0.0
    dot: str = ""
    outlined: bool = False

    def css(self) -> list:
        """[fill, dot, outlined] for the browser."""
        r, g, b = rgb(self.color)
        fill = f"rgba({r},{g},{b},{self.share})" if self.share else ""
        return [fill, self.dot, int(self.outlined)]

    @property
    def on_gray(self) -> str:
        """The wash as it would look over an average image."""
        return mixed(GRAY, self.color, self.share)


OUTLINED, PALE = TokenStyle(outlined=True), TokenStyle(share=0.90)
JUST_DROPPED = TokenStyle(share=0.78)
GROUPS = tuple(TokenStyle(mixed("#ffffff", c, 0.5), 0.72, c) for c in HUES)
STATUS = (OUTLINED, JUST_DROPPED, PALE, *GROUPS)
HEAT = (PALE, *(TokenStyle(heat_color(level), 0.8) for level in range(LEVELS)))


def lost_styles(num_stages: int) -> tuple[TokenStyle, ...]:
    """Kept to the end; then for every stage: dropped there, and recycled there (with a dot)."""
    styles = [OUTLINED]
    for stage in range(num_stages):
        # The longer it was worth keeping, the louder.
        color = mixed(FIRST_LOST, LAST_LOST, (stage + 1) / max(3, num_stages))
        styles += [TokenStyle(color, 0.82), TokenStyle(color, 0.82, "#ffffff")]
    return tuple(styles)


@dataclass(frozen=True)
class ColorMap:
    """Colors of one panel.

    Attributes
    ----------
    codes
        Lists of indices into the palette `styles`, one per original token.
    at
        For every position of the slider, which list of codes.
    scales
        For every position the lowest and the highest value of a heat map, as text; or "".
    notes
        For every position, why there is nothing to see; or "".
    """

    styles: tuple[TokenStyle, ...]
    codes: tuple[tuple[int, ...], ...]
    at: tuple[int, ...]
    scales: tuple[tuple[str, str] | str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ColorChoice:
    """What is shown by color.

    Attributes
    ----------
    mode
        "status": what every token is at this layer; "lost": at which stage it lost its place;
        "score": by what it was judged; "attention": how much words attend to it.
    head, word
        For "attention": one head, or ``None`` for the mean; one word, or ``None`` for the raters,
        and without raters the last word, from which the answer is read.

    Raises
    ------
    ValueError
        For an unknown mode.
    """

    mode: str = "status"
    head: int | None = None
    word: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"unknown mode {self.mode!r}; known: {', '.join(MODES)}")

    def fitting(self, found: Exploration) -> ColorChoice:
        """The choice without a head or word that was not recorded."""
        head = self.head if self.head in range(found.attention.num_heads) else None
        return ColorChoice(
            self.mode, head, self.word if self.word in found.attention.words else None
        )

    def words(self, found: Exploration) -> tuple[int, ...]:
        """The words whose attention is shown."""
        known = found.attention.words
        raters = tuple(word for word in found.raters if word in known)
        return (raters or known[-1:]) if self.word is None else (self.word,)


def color_map(found: Exploration, choice: ColorChoice) -> ColorMap:
    """Color one panel."""
    positions = range(len(found.trace.tokens_in) + 1)
    if choice.mode == "lost":
        return _lost_map(found)
    if choice.mode == "status":
        hues = status.group_hues(found.trace, len(HUES))
        codes = tuple(_status_codes(shot, hues) for shot in status.snapshots(found.trace))
        return ColorMap(STATUS, codes, snapshot_at(found))
    make = _scores if choice.mode == "score" else _attention
    levels, scales, notes = zip(*(make(found, position, choice) for position in positions),
                                strict=True)  # fmt: skip
    codes = tuple(_heat_codes(one, found) for one in levels)
    return ColorMap(HEAT, codes, tuple(positions), scales, notes)


def legend(found: Exploration, choice: ColorChoice) -> list[tuple[TokenStyle | str, str]]:
    """What the colors mean: (style or CSS gradient, text); the exact quantity for a heat map."""
    if choice.mode == "status":
        texts = (
            "kept as itself",
            "recycled: each group became one token; groups that touch differ in color",
            "dropped at this stage", "dropped before",
        )  # fmt: skip
        return list(zip((OUTLINED, GROUPS[0], JUST_DROPPED, PALE), texts, strict=True))
    if choice.mode == "lost":
        stages = found.trace.stages
        dropped = lost_styles(len(stages))[1::2]
        texts = [f"lost its place {status.stage_name(stage.layer)}" for stage in stages]
        recycled = TokenStyle("#bbbbbb", 1.0, "#ffffff")
        return [
            (OUTLINED, "kept to the end"),
            *zip(dropped, texts, strict=True),
            (recycled, "recycled at the end"),
        ]
    bar = "linear-gradient(90deg," + ",".join(CIVIDIS) + ")"
    return [(bar, quantity(found, choice)), (PALE, "no longer there")]


def quantity(found: Exploration, choice: ColorChoice) -> str:
    """The quantity of a heat map, exactly."""
    if choice.mode == "score":
        if not any(stage.scores for stage in found.trace.stages):
            return "this method has no scores"
        corrected = ", corrected for distance" if found.pruner.get("gravity") else ""
        return (
            "share of tokens with a lower score at the latest stage; score is the softmax attention"
            f"{corrected}, mean over heads and raters"
        )
    words = choice.words(found)
    named = ", ".join(f"“{found.words[word]}”" for word in words)
    mean = "mean of " if len(words) > 1 else ""
    head = "mean over heads" if choice.head is None else f"head {choice.head}"
    return f"attention of {mean}{named} in this layer of the pruned model, {head}, logarithmic"


def snapshot_at(found: Exploration) -> tuple[int, ...]:
    """For every position of the slider, which of `snapshots` is seen."""
    positions = range(len(found.trace.tokens_in) + 1)
    return tuple(status.stages_before(found.trace, position) for position in positions)


def _status_codes(shot: status.Snapshot, hues: dict[int, int]) -> tuple[int, ...]:
    def code(token: status.TokenStatus) -> int:
        if token.state == status.KEPT:
            return 0
        if token.state == status.DROPPED:
            return 1 if token.since == shot.layer else 2
        return 3 + hues[token.group]

    return tuple(map(code, shot.tokens))


def _lost_map(found: Exploration) -> ColorMap:
    layers = [stage.layer for stage in found.trace.stages]
    codes = tuple(
        0 if token.state == status.KEPT
        else 1 + 2 * layers.index(token.since) + (token.state == status.RECYCLED)
        for token in status.snapshots(found.trace)[-1].tokens
    )  # fmt: skip
    return ColorMap(lost_styles(len(layers)), (codes,), (0,) * (len(found.trace.tokens_in) + 1))


Heat = tuple[dict[int, int], tuple[str, str] | str, str]  # levels by token, scale, note


def _scores(found: Exploration, position: int, choice: ColorChoice) -> Heat:
    """Levels by rank at the latest stage, or before any at the first."""
    stages = [stage for stage in found.trace.stages if stage.scores]
    done = [stage for stage in stages if stage.layer < position]
    if not stages:
        return {}, "", "This method has no scores."
    stage = done[-1] if done else stages[0]
    order = sorted(stage.scores)
    most = max(1, len(order) - 1)
    levels = {
        identity: min(LEVELS - 1, int(bisect_left(order, score) / most * LEVELS))
        for identity, score in zip(stage.score_ids, stage.scores, strict=True)
    }
    return levels, ("lowest", "highest"), ""


def _attention(found: Exploration, position: int, choice: ColorChoice) -> Heat:
    """Levels by attention in the layer before a position; before any, in layer 0.

    They run from the lowest to the highest value of this layer.
    """
    layer = max(position - 1, 0)
    values = found.attention.values(layer, choice.head, choice.words(found))
    if not values:
        last = max((rows.layer for rows in found.attention.layers), default=-1)
        why = ("it decides nothing, for no stage comes after it" if layer > last
               else "this method reads that of later ones")  # fmt: skip
        return {}, "", f"The attention of layer {layer} is not recorded: {why}. Move the slider."
    logs = {identity: math.log10(value) for identity, value in values.items()}
    low, high = min(logs.values()), max(logs.values())
    step = (high - low) / LEVELS or 1.0
    levels = {i: min(LEVELS - 1, int((value - low) / step)) for i, value in logs.items()}
    least = "≤ " if low <= -DECADES else ""
    return levels, (f"{least}{10**low:.2g}", f"{10**high:.2g}"), ""


def _heat_codes(levels: dict[int, int], found: Exploration) -> tuple[int, ...]:
    """Codes of the levels; a recycled token colors all the patches that were merged into it."""
    codes = [0] * found.trace.num_visual
    members: dict[int, Sequence[int]] = {}
    for stage in found.trace.stages:
        members |= dict(zip(stage.group_ids, stage.groups, strict=True))
    for identity, level in levels.items():
        for token in members.get(identity, (identity,)):
            codes[token] = 1 + level
    return tuple(codes)
