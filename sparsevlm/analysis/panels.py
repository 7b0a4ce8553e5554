"""Parts of figures placed by hand: panels in inches, maps of the visual tokens, words in boxes."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from PIL.Image import Image

from sparsevlm.analysis.observe import AskedExample
from sparsevlm.analysis.style import METHOD_STYLE, OUTPUT, SMALLEST, use_style
from sparsevlm.analysis.survivors import (
    bare,
    draw_survivors,
    draw_words,
    kept_outline,
    shadow,
    shortened,
)  # fmt: skip

RIGHT, WRONG = "#00795A", "#B00020"
QUIET = "#666666"
# Whose attention it is decides the color: that of the method that scores by this attention.
RATERS = METHOD_STYLE["sparsevlm"].color
ALL_TEXT = METHOD_STYLE["sparsevlm-all-text"].color
LAST_TOKEN = METHOD_STYLE["fastv"].color


class Canvas:
    """A figure whose panels are placed in inches from its upper left corner.

    Parameters
    ----------
    width, height : float
        In inches, for two columns of a paper.
    parts : sequence of (left, top, right, bottom)
        What stays together in one column, where the parts of a figure that is wider than `OUTPUT`
        follow each other like words.
    """

    def __init__(
        self, width: float, height: float, parts: Sequence[tuple[float, ...]] = ()
    ) -> None:
        use_style()
        self._moved: list[tuple[tuple[float, ...], float, float]] = []
        if width > OUTPUT.width:
            width, height = OUTPUT.width, self._flow(parts)
        self.width, self.height = width, height
        self.figure: Figure = plt.figure(figsize=(width, height), layout="none")
        # A figure without an engine gets the default one when it is saved.
        engine = PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)
        self.figure.set_layout_engine(engine)

    def _flow(self, parts: Sequence[tuple[float, ...]]) -> float:
        """Find a place for every part; returns the height of all."""
        at, top, low = 0.0, 0.0, 0.0
        for left, upper, right, lower in parts:
            if at and at + right - left > OUTPUT.width + 0.01:
                at, top = 0.0, low
            self._moved.append(((left, upper, right, lower), at - left, top - upper))
            at, low = at + right - left, max(low, top + lower - upper)
        return low + 0.1  # for the marker of the profile

    def _place(self, x: float, y: float) -> tuple[float, float]:
        for (left, upper, right, lower), across, down in self._moved:
            if left <= x <= right and upper <= y < lower:
                return x + across, y + down
        return x, y

    def panel(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes whose upper left corner lies at (x, y)."""
        x, y = self._place(x, y)
        box = (
            x / self.width, 1 - (y + height) / self.height,
            width / self.width, height / self.height,
        )  # fmt: skip
        return self.figure.add_axes(box, anchor="N")

    def text(self, x: float, y: float, words: str, **how: object) -> None:
        """Text whose upper left corner (by default) lies at (x, y)."""
        x, y = self._place(x, y)
        how = {"va": "top", "ha": "left", "size": 7, **how}
        self.figure.text(x / self.width, 1 - y / self.height, words, **how)


def ramp(color: str) -> Colormap:
    """White, the color, and a dark shade of it."""
    dark = tuple(0.35 * part for part in to_rgb(color))
    return LinearSegmentedColormap.from_list(color, [(0, "white"), (0.6, color), (1, dark)])


def draw_stage(
    axes: Axes,
    one: AskedExample,
    stage: int | None = None,
    groups: Sequence[Sequence[int]] | None = None,
    *,
    width: float = 1.1,
    color: str | None = None,
    pixels: int = 300,
) -> None:
    """Draw which visual tokens are left after a stage, the target outlined where it is known.

    Parameters
    ----------
    stage : int, optional
        Counted from 0, or from the end; None for the image as the model saw it.
    groups : sequence of sequences of int, optional
        Patches that are tinted together; by default the recycled ones of the stage.
    width, color : float and str, optional
        Of the outline; by default white on the image and black on survivors.
    pixels : int
        See `survivors.survivor_image`.
    """
    traced = None if stage is None else one.sample.stages[stage]
    if groups is None:
        groups = traced.groups if traced else ()
    kept = traced.kept if traced else None
    draw_survivors(axes, one.image, one.grid, kept, groups, pixels)
    outline(axes, one.grid, one.target, color or ("#111111" if traced else "white"), width)


def draw_map(
    axes: Axes,
    values: np.ndarray,
    grid: tuple[int, int],
    color: str,
    target: Sequence[int] | None = None,
    image: Image | None = None,
) -> float:
    """Draw one value per visual token; the shade follows the square root of the value.

    The darkest shade is the 99.5th percentile, which is returned: one sink bleaches no other.
    Values ``[rows * columns]`` are not negative, and NaN where there is no token (drawn grey). The
    patches of the target are outlined, and what the model saw is drawn as a shadow on the map.
    """
    rows, columns = grid
    largest = max(float(np.nanpercentile(values, 99.5)), np.finfo(float).tiny)
    where = {"extent": (0, columns, rows, 0), "interpolation": "nearest"}
    shades = ramp(color).with_extremes(bad="#dddddd")
    shown = np.sqrt(np.asarray(values) / largest).reshape(rows, columns)
    axes.imshow(shown, cmap=shades, vmin=0, vmax=1, **where)
    if image is not None:  # a shadow on the map, so that the colors are those of the scale
        axes.imshow(shadow(image), **where)
    outline(axes, grid, target)
    bare(axes)
    return largest


def outline(axes: Axes, grid: tuple[int, int], patches: Sequence[int] | None,
            color: str = "#111111", width: float = 0.7) -> None:  # fmt: skip
    """Draw a line around some patches; nothing where they are not known."""
    if patches is not None:
        lines = kept_outline(grid, patches)
        axes.add_collection(LineCollection(lines, colors=color, lw=width))


def draw_answer(axes: Axes, one: AskedExample, y: float = -0.03, room: int = 28,
                **how: object) -> None:  # fmt: skip
    """Write an answer below a panel with its verdict, or in black where the truth is not known.

    Green and a tick, or red, a cross and the right one. More than `room` characters are cut.
    """
    answer, truth = shortened(one.answer.text, room), one.example.answer
    text, color = f"{answer or 'nothing'} ✗ ({shortened(truth, room)})", WRONG
    if not truth:
        text, color = answer or "no answer", "#222222"
    elif one.answer.text == truth:
        text, color = f"{answer} ✓", RIGHT
    how = {"size": 7, "va": "top", "ha": "left", **how}
    axes.text(0, y, text, color=color, transform=axes.transAxes, **how)


def count_of_target(axes: Axes, one: AskedExample, stage: int, text: str, **how: object) -> None:
    """Write below a panel how much of the target is left, where the question has one.

    `text` has the places ``{left}`` and ``{all}``.
    """
    if one.target:
        text = text.format(left=one.kept_of_target(stage), all=len(one.target))
        how = {"va": "top", "ha": "right", "size": 6.5, "color": "#555555", **how}
        axes.text(1, how.pop("y", -0.03), text, transform=axes.transAxes, **how)


def draw_line(axes: Axes, one: AskedExample, line: Sequence[int], y: float, size: float,
              room: int = 99) -> None:  # fmt: skip
    """Write some words, raters in color; smaller, then cut, if more characters than `room`."""
    words = [shortened(one.words[i]) for i in line]
    smaller = max(SMALLEST, size * min(1, room / len(" ".join(words))))
    while len(words) > 1 and len(" ".join(words)) * smaller > room * size:
        words[-2:] = ["…"]
    draw_words(axes, words, [n for n, i in enumerate(line) if i in one.raters], 0.0, y, smaller)


def draw_relevance(
    axes: Axes, words: Sequence[str], values: Sequence[float], boxed: Sequence[int],
    bar: float, size: float = 6.5,
) -> None:  # fmt: skip
    """Write words in lines from the bottom of the axes, on boxes shaded by value, under bars.

    The axes become those of inches, from the upper left corner. The values add up to 1; the shade
    follows the value over the largest one, and dashes are the mean. `boxed` words have a frame in
    the color of the raters, and their value in digits; a bar of 1 is `bar` inches high.
    """
    words, figure = [shortened(word) for word in words], axes.figure
    box = axes.get_position()
    wide, high = box.width * figure.get_figwidth(), box.height * figure.get_figheight()
    axes.set(xlim=(0, wide), ylim=(high, 0))
    axes.axis("off")
    at, foot, places = 0.0, high - size * 0.03, []
    for index, word in enumerate(words):
        probe = axes.text(0, 0, word, size=size, weight="bold" if index in boxed else "normal")
        width = probe.get_window_extent().width / figure.dpi + size * 0.008
        probe.remove()
        if at and at + width > wide:
            at = 0.0
            places = [
                (*edges, low - bar * max(values) - 0.1 - size * 0.03) for *edges, low in places
            ]
        places.append((at, at + width, foot))
        at += width + size * 0.0035
    places = np.array(places)
    middle, colors = places[:, :2].mean(1), [RATERS if i in boxed else "#c9c9c9"
                                             for i in range(len(words))]  # fmt: skip
    axes.bar(middle, -bar * np.asarray(values), 0.13, bottom=places[:, 2], color=colors)
    for foot in np.unique(places[:, 2]):
        mean = foot - bar / len(words)
        axes.plot([0, wide], [mean, mean], color="#333333", lw=0.6, ls=(0, (4, 2)), zorder=0.5)
    for index, (word, x) in enumerate(zip(words, middle, strict=True)):
        rates, foot = index in boxed, places[index, 2]
        share = 0.6 * values[index] / max(values)
        axes.text(
            x, foot + size * 0.0135, word, size=size, ha="center", va="center",
            weight="bold" if rates else "normal", color="white" if share > 0.42 else "#333333",
            bbox={
                "boxstyle": "round,pad=0.22", "facecolor": ramp(RATERS)(share),
                "edgecolor": RATERS if rates else "none", "linewidth": 0.8,
            },
        )  # fmt: skip
        if rates:
            axes.text(x, foot - bar * values[index] - 0.01, f"{values[index]:.2f}",
                      size=SMALLEST, ha="center", va="bottom")  # fmt: skip
