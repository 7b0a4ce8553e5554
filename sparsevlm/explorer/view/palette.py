"""Colours of the explorer: those of the figures, told apart without colour too."""

from __future__ import annotations

from typing import NamedTuple

from sparsevlm.analysis.survivors import GROUP_COLOURS, RATER_COLOUR

GROUPS, RATER = GROUP_COLOURS, RATER_COLOUR
ONLY_FIRST, ONLY_SECOND = "#D55E00", "#0072B2"
RIGHT, WRONG = "#00795A", "#B00020"
WHITE = "#ffffff"
# Cividis (Nunez, Anderton and Renslow 2018): the same order for common colour-vision deficiencies.
CIVIDIS = ("#00224E", "#123570", "#3B496C", "#575D6D", "#707173", "#8A8678", "#A59C74", "#C3B369",
           "#E1CC55", "#FEE838")  # fmt: skip
LEVELS = 28
# Fixed for every map of attention, so that two panels can be compared: 1e-6 to 1e-1, logarithmic.
LOWEST, HIGHEST = -6.0, -1.0


class Look(NamedTuple):
    """How a token is drawn.

    Attributes
    ----------
    colour, share
        The wash over the picture, and how much of it covers the picture (0: nothing).
    dot
        Whether a dot marks it (recycled, or one side of a comparison).
    outlined
        Whether it belongs to the region with a dark outline (kept).
    """

    colour: str = WHITE
    share: float = 0.0
    dot: str = ""
    outlined: bool = False

    def css(self) -> list:
        """[fill, dot, outlined] for the browser."""
        r, g, b = rgb(self.colour)
        fill = f"rgba({r},{g},{b},{self.share})" if self.share else ""
        return [fill, self.dot, int(self.outlined)]


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of "#rrggbb"."""
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def mixed(first: str, second: str, share: float) -> str:
    """``share`` of the second colour in the first."""
    pairs = zip(rgb(first), rgb(second), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def heat_colour(level: int) -> str:
    """Colour of a level from 0 to ``LEVELS - 1``."""
    place = level / (LEVELS - 1) * (len(CIVIDIS) - 1)
    first = min(int(place), len(CIVIDIS) - 2)
    return mixed(CIVIDIS[first], CIVIDIS[first + 1], place - first)


KEPT = Look(outlined=True)
JUST_DROPPED = Look(share=0.78)
DROPPED = Look(share=0.90)
# The same lam as in the figures (`reproduce.survivors`).
RECYCLED = tuple(Look(mixed(WHITE, colour, 0.5), 0.72, colour) for colour in GROUPS)
FATE = (KEPT, JUST_DROPPED, DROPPED, *RECYCLED)

ABSENT = Look(share=0.90)
HEAT = (ABSENT, *(Look(heat_colour(level), 0.8) for level in range(LEVELS)))

BOTH, NEITHER = Look(outlined=True), Look(share=0.90)
DIFFERENCE = (
    BOTH, NEITHER, Look(ONLY_FIRST, 0.62, ONLY_FIRST), Look(ONLY_SECOND, 0.62, ONLY_SECOND),
)  # fmt: skip


def life(num_cuts: int) -> tuple[Look, ...]:
    """Kept to the end; then for every cut: dropped there, and recycled there (with a dot)."""
    looks = [KEPT]
    for stage in range(num_cuts):
        # The earlier the paler.
        level = round((LEVELS - 1) * (1 - stage / max(1, num_cuts - 1)))
        colour = heat_colour(level)
        looks += [Look(colour, 0.78), Look(colour, 0.78, "#ffffff")]
    return tuple(looks)
