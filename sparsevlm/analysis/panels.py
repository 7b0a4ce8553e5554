"""Parts of figures placed by hand: panels in inches, maps of the visual tokens, words in boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.analysis.style import METHOD_STYLE, use_style
from sparsevlm.analysis.survivors import kept_outline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from PIL.Image import Image

RIGHT, WRONG = "#00795A", "#B00020"
QUIET = "#666666"
# Who looks decides the colour, and it is that of the method that goes by this look.
RATERS = METHOD_STYLE["sparsevlm"].color
ALL_TEXT = METHOD_STYLE["sparsevlm-all-text"].color
LAST_TOKEN = METHOD_STYLE["fastv"].color


class Canvas:
    """A figure whose panels are placed in inches from its upper left corner.

    Parameters
    ----------
    width, height : float
        In inches.
    """

    def __init__(self, width: float, height: float) -> None:
        import matplotlib.pyplot as plt
        from matplotlib.layout_engine import PlaceHolderLayoutEngine

        use_style()
        self.width, self.height = width, height
        self.figure: Figure = plt.figure(figsize=(width, height), layout="none")
        # A figure without an engine gets the default one when it is saved.
        engine = PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)
        self.figure.set_layout_engine(engine)

    def panel(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes whose upper left corner lies at (x, y)."""
        box = (
            x / self.width, 1 - (y + height) / self.height,
            width / self.width, height / self.height,
        )  # fmt: skip
        return self.figure.add_axes(box)

    def text(self, x: float, y: float, words: str, **how: object) -> None:
        """Text whose upper left corner (by default) lies at (x, y)."""
        how = {"va": "top", "ha": "left", "size": 7, **how}
        self.figure.text(x / self.width, 1 - y / self.height, words, **how)

    def arrow(self, start: tuple[float, float], end: tuple[float, float], **how: object) -> None:
        """An arrow between two points."""
        from matplotlib.patches import FancyArrowPatch

        points = [(x / self.width, 1 - y / self.height) for x, y in (start, end)]
        how = {"arrowstyle": "-|>", "mutation_scale": 7, "lw": 0.8, "color": QUIET, **how}
        self.figure.add_artist(
            FancyArrowPatch(*points, transform=self.figure.transFigure, shrinkA=0, shrinkB=0, **how)
        )


def ramp(colour: str) -> Colormap:
    """White, the colour, and a dark shade of it."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    dark = tuple(0.35 * part for part in to_rgb(colour))
    return LinearSegmentedColormap.from_list(colour, [(0, "white"), (0.6, colour), (1, dark)])


def bare(axes: Axes) -> None:
    """No ticks, a thin pale frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color="#bbbbbb", linewidth=0.5)


def draw_fates(
    axes: Axes,
    image: Image,
    grid: tuple[int, int],
    kept: Sequence[int] | None = None,
    groups: Sequence[Sequence[int]] = (),
    pixels: int = 300,
) -> None:
    """`draw_survivors` for a panel of an inch or so: files and drawing times stay small.

    Parameters
    ----------
    axes, image, grid, kept, groups
        As there.
    pixels : int
        The drawn picture has at least this many on a side, and the picture's own.
    """
    from sparsevlm.analysis.survivors import draw_survivors

    draw_survivors(axes, image, grid, kept, groups)
    (drawn,) = axes.images
    enlarged = drawn.get_array()
    steps = [step for step in range(1, enlarged.shape[1] // image.width + 1)
             if (enlarged.shape[1] // image.width) % step == 0
             and enlarged.shape[1] // step >= pixels]  # fmt: skip
    drawn.set_data(enlarged[:: steps[-1], :: steps[-1]])


def draw_map(
    axes: Axes,
    values: np.ndarray,
    grid: tuple[int, int],
    colour: str,
    target: Sequence[int] = (),
    largest: float | None = None,
) -> None:
    """Draw one value per visual token; the shade goes with the square root of the value.

    Parameters
    ----------
    axes : Axes
    values : ndarray
        ``[rows * columns]``, not negative; NaN where there is no token (drawn grey).
    grid : (int, int)
    colour : str
        Of the ramp.
    target : sequence of int
        Raster indices to outline.
    largest : float, optional
        The value of the darkest shade; by default the 99.5th percentile of `values`, so that one
        sink does not bleach all others.
    """
    rows, columns = grid
    largest = np.nanpercentile(values, 99.5) if largest is None else largest
    shades = ramp(colour).with_extremes(bad="#dddddd")
    axes.imshow(
        np.sqrt(np.asarray(values) / largest).reshape(rows, columns), cmap=shades, vmin=0, vmax=1,
        extent=(0, columns, rows, 0), interpolation="nearest",
    )  # fmt: skip
    outline(axes, grid, target)
    bare(axes)


def outline(axes: Axes, grid: tuple[int, int], patches: Sequence[int], colour: str = "#111111",
            width: float = 0.7) -> None:  # fmt: skip
    """Draw a line around some patches."""
    from matplotlib.collections import LineCollection

    axes.add_collection(LineCollection(kept_outline(grid, patches), colors=colour, lw=width))


def draw_answer(axes: Axes, answer: str, reference: str, x: float, y: float, **how: object) -> None:
    """Write an answer with its verdict; green and a tick, or red, a cross and the right one."""
    right = answer == reference
    text = f"{answer} ✓" if right else f"{answer or 'nothing'} ✗ ({reference})"
    how = {"size": 7, "va": "top", "ha": "left", **how}
    axes.text(x, y, text, color=RIGHT if right else WRONG, **how)


def draw_sentence(
    axes: Axes, words: Sequence[str], values: Sequence[float], boxed: Sequence[int], size: float = 7
) -> np.ndarray:
    """Write words in one line across the axes, each on a box shaded by its value.

    Parameters
    ----------
    axes : Axes
        Its x axis becomes inches; the words stand at the bottom.
    words, values : sequences
        The shade goes with the value over the largest one.
    boxed : sequence of int
        Words with a frame in the colour of the raters.
    size : float
        In points; smaller where the sentence is too long for the axes.

    Returns
    -------
    ndarray
        ``[words, 2]`` left and right edge of every box, in inches.
    """
    figure = axes.figure
    renderer = figure.canvas.get_renderer()
    inches = axes.get_position().width * figure.get_figwidth()
    axes.set_xlim(0, inches)

    def edges(points: float) -> np.ndarray:
        at, found = 0.0, []
        for index, word in enumerate(words):
            weight = "bold" if index in boxed else "normal"
            probe = axes.text(0, 0, word, size=points, weight=weight)
            width = probe.get_window_extent(renderer).width / figure.dpi + points * 0.008
            probe.remove()
            found.append((at, at + width))
            at += width + points * 0.0035
        return np.array(found)

    places = edges(size)
    if places[-1, 1] > inches:
        size *= inches / places[-1, 1]
        places = edges(size)
    shades = ramp(RATERS)
    for index, (word, (left, right)) in enumerate(zip(words, places, strict=True)):
        rates = index in boxed
        share = 0.6 * values[index] / max(values)
        axes.text(
            (left + right) / 2, 0, word, size=size, ha="center", va="center",
            weight="bold" if rates else "normal", color="white" if share > 0.42 else "#333333",
            bbox={
                "boxstyle": "round,pad=0.22", "facecolor": shades(share),
                "edgecolor": RATERS if rates else "none", "linewidth": 0.8,
            },
        )  # fmt: skip
    return places
