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
from sparsevlm.explorer.exploration import Exploration

MODES = ("status", "lost", "score", "attention")
RIGHT, WRONG = "#00795A", "#B00020"
GRAY = "#8c8c8c"  # of an average image
ONLY_FIRST, ONLY_SECOND = "#D55E00", "#0072B2"
# Cividis (Nunez, Anderton and Renslow 2018): the same order for common color-vision deficiencies.
CIVIDIS = ("#00224E", "#123570", "#3B496C", "#575D6D", "#707173", "#8A8678", "#A59C74", "#C3B369",
           "#E1CC55", "#FEE838")  # fmt: skip
LEVELS = 28
# Fixed for every map of attention, so that two panels can be compared: 1e-6 to 1e-1, logarithmic.
LOWEST, HIGHEST = -6.0, -1.0


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

    Attributes
    ----------
    color, share
        The wash over the image, and how much of it covers the image (0: nothing).
    dot
        Color of a dot that marks it (recycled, or one side of a comparison), or "".
    outlined
        Whether it belongs to the region with a dark outline (kept).
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
GROUPS = tuple(TokenStyle(mixed("#ffffff", c, 0.5), 0.72, c) for c in GROUP_COLORS)
STATUS = (OUTLINED, JUST_DROPPED, PALE, *GROUPS)
HEAT = (PALE, *(TokenStyle(heat_color(level), 0.8) for level in range(LEVELS)))
DIFFERENCE = (
    OUTLINED, PALE, TokenStyle(ONLY_FIRST, 0.62, ONLY_FIRST),
    TokenStyle(ONLY_SECOND, 0.62, ONLY_SECOND),
)  # fmt: skip


def lost_styles(num_stages: int) -> tuple[TokenStyle, ...]:
    """Kept to the end; then for every stage: dropped there, and recycled there (with a dot)."""
    styles = [OUTLINED]
    for stage in range(num_stages):
        # The earlier the paler.
        color = heat_color(round((LEVELS - 1) * (1 - stage / max(1, num_stages - 1))))
        styles += [TokenStyle(color, 0.78), TokenStyle(color, 0.78, "#ffffff")]
    return tuple(styles)


@dataclass(frozen=True)
class ColorMap:
    """Colors of one panel.

    Attributes
    ----------
    styles
        The palette.
    codes
        Lists of indices into `styles`, one per original token.
    at
        For every position of the slider, which list of codes.
    """

    styles: tuple[TokenStyle, ...]
    codes: tuple[tuple[int, ...], ...]
    at: tuple[int, ...]


@dataclass(frozen=True)
class ColorChoice:
    """What is shown by color.

    Attributes
    ----------
    mode
        "status": what every token is at this layer; "lost": at which stage it lost its place;
        "score": by what it was judged; "attention": the rows of the raters.
    head, word
        For "attention": one head, one rating word; ``None``: the mean.

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


def color_map(found: Exploration, choice: ColorChoice) -> ColorMap:
    """Color one panel."""
    if choice.mode == "lost":
        return _lost_map(found)
    if choice.mode == "status":
        codes = tuple(_status_codes(shot) for shot in status.snapshots(found.trace))
        return ColorMap(STATUS, codes, _snapshot_at(found))
    levels = _score_levels if choice.mode == "score" else _attention_levels
    positions = range(len(found.trace.tokens_in) + 1)
    codes = tuple(_heat_codes(levels(found, position, choice), found) for position in positions)
    return ColorMap(HEAT, codes, tuple(positions))


def difference_map(first: Exploration, second: Exploration) -> ColorMap:
    """Who keeps what: both, neither, only the first, only the second."""
    one, two = status.snapshots(first.trace), status.snapshots(second.trace)
    pairs = list(zip(_snapshot_at(first), _snapshot_at(second), strict=True))
    known = sorted(set(pairs))
    code = {(True, True): 0, (False, False): 1, (True, False): 2, (False, True): 3}
    codes = []
    for a, b in known:
        in_one, in_two = set(one[a].kept), set(two[b].kept)
        tokens = range(first.trace.num_visual)
        codes.append(tuple(code[token in in_one, token in in_two] for token in tokens))
    return ColorMap(DIFFERENCE, tuple(codes), tuple(known.index(pair) for pair in pairs))


def legend(found: Exploration, choice: ColorChoice) -> list[tuple[TokenStyle | str, str]]:
    """What the colors mean: (style or CSS gradient, text); the exact quantity for a heat map."""
    if choice.mode == "status":
        texts = ("kept as itself", "recycled (a color per group)", "dropped at the last stage",
                 "dropped before")  # fmt: skip
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
    scale = "0 to 1" if choice.mode == "score" else "1e-6 to 1e-1, logarithmic"
    return [(bar, f"{scale}: {quantity(found, choice)}"), (PALE, "no longer there")]


def difference_legend(first: str, second: str) -> list[tuple[TokenStyle | str, str]]:
    """The same for `difference_map`."""
    texts = ("kept by both", "kept by neither", f"only by {first}", f"only by {second}")
    return list(zip(DIFFERENCE, texts, strict=True))


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
    words = found.attention.words if choice.word is None else (choice.word,)
    named = ", ".join(f"“{found.words[word]}”" for word in words)
    mean = "mean of " if len(words) > 1 else ""
    head = "mean over heads" if choice.head is None else f"head {choice.head}"
    return f"softmax attention of {mean}{named} in this layer of the pruned model, {head}"


def _snapshot_at(found: Exploration) -> tuple[int, ...]:
    positions = range(len(found.trace.tokens_in) + 1)
    return tuple(status.stages_before(found.trace, position) for position in positions)


def _status_codes(shot: status.Snapshot) -> tuple[int, ...]:
    def code(token: status.TokenStatus) -> int:
        if token.state == status.KEPT:
            return 0
        if token.state == status.DROPPED:
            return 1 if token.since == shot.layer else 2
        return 3 + token.group % len(GROUPS)

    return tuple(map(code, shot.tokens))


def _lost_map(found: Exploration) -> ColorMap:
    layers = [stage.layer for stage in found.trace.stages]
    codes = tuple(
        0 if token.state == status.KEPT
        else 1 + 2 * layers.index(token.since) + (token.state == status.RECYCLED)
        for token in status.snapshots(found.trace)[-1].tokens
    )  # fmt: skip
    return ColorMap(lost_styles(len(layers)), (codes,), (0,) * (len(found.trace.tokens_in) + 1))


def _score_levels(found: Exploration, position: int, choice: ColorChoice) -> dict[int, int]:
    """Levels by rank at the latest stage, or before any at the first; nothing without scores."""
    stages = [stage for stage in found.trace.stages if stage.scores]
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


def _attention_levels(found: Exploration, position: int, choice: ColorChoice) -> dict[int, int]:
    """Levels by attention in the layer before a position; before any, in layer 0."""
    values = found.attention.values(max(position - 1, 0), choice.head, choice.word)
    return {identity: attention_level(value) for identity, value in values.items()}


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


def attention_level(value: float) -> int:
    """Color level of a value on the fixed scale."""
    if value <= 0:
        return 0
    share = (math.log10(value) - LOWEST) / (HIGHEST - LOWEST)
    return max(0, min(LEVELS - 1, int(share * LEVELS)))
