"""Drawing what became of every visual token (kept, recycled into a group, dropped), and words."""

from __future__ import annotations

import textwrap
import unicodedata
import warnings
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageOps
from PIL.Image import Resampling

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from PIL.Image import Image

DROPPED = 0.10  # share of the image that shows through where a token was dropped
RECYCLED = 0.28
ENLARGE = (1, 2, 5, 10)  # times its own size
MAX_PATCH = 40  # pixels on a side of a patch, before that

# Okabe-Ito without black. Groups repeat them: a color has to differ from its neighbours only.
GROUP_COLORS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#F0E442")
RATER_COLOR = "#D55E00"

ROOM = 28  # characters; no word is longer


def rgb(color: str) -> tuple[int, int, int]:
    """Return red, green and blue of "#rrggbb"."""
    return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))


def survivor_image(
    image: Image,
    grid: tuple[int, int],
    kept: Sequence[int],
    groups: Sequence[Sequence[int]],
    pixels: int = 960,
) -> np.ndarray:
    """The image with its dropped patches whitened and its recycled ones tinted by group.

    It is uint8 [height, width, 3]. The grid of (rows, columns) covers all of the image, which is as
    the model saw it; kept tokens and groups are raster indices. A small image is enlarged to about
    `pixels` in width, so that its patches have sharp edges.
    """
    rows, columns = grid
    patch = min(max(1, image.width // columns), MAX_PATCH)
    cell = patch * next((k for k in ENLARGE if k * patch * columns >= pixels), ENLARGE[-1])
    # An image of whole patches is repeated pixel by pixel, any other one is resampled.
    whole = image.size == (columns * patch, rows * patch)
    resampled = image.resize((columns * cell, rows * cell), Resampling.NEAREST if whole
                             else Resampling.BICUBIC)  # fmt: skip
    shown = np.full(rows * columns, DROPPED)
    tint = np.full((rows * columns, 3), 255.0)
    for number, members in enumerate(groups):
        shown[list(members)] = RECYCLED
        color = np.array(rgb(GROUP_COLORS[number % len(GROUP_COLORS)]), float)
        tint[list(members)] = 0.45 * color + 0.55 * 255
    shown[list(kept)] = 1.0
    share = np.kron(shown.reshape(rows, columns), np.ones((cell, cell)))[..., None]
    wash = np.kron(tint.reshape(rows, columns, 3), np.ones((cell, cell, 1)))
    mixed = np.asarray(resampled, float) * share + wash * (1 - share)
    return mixed.round().astype(np.uint8)


def kept_outline(grid: tuple[int, int], kept: Sequence[int]) -> np.ndarray:
    """Edges between surviving patches and the rest, [edges, 2 points, (x, y)] in patches."""
    rows, columns = grid
    # Padded by one, so that the border of the image counts as "the rest".
    inside = np.zeros((rows + 2, columns + 2), bool)
    flat = np.zeros(rows * columns, bool)
    flat[list(kept)] = True
    inside[1:-1, 1:-1] = flat.reshape(rows, columns)
    edges = []
    for y, x in zip(*np.nonzero(inside[1:, 1:-1] != inside[:-1, 1:-1]), strict=True):
        edges.append(((x, y), (x + 1, y)))
    for y, x in zip(*np.nonzero(inside[1:-1, 1:] != inside[1:-1, :-1]), strict=True):
        edges.append(((x, y), (x, y + 1)))
    return np.array(edges, float).reshape(-1, 2, 2)


def draw_survivors(
    axes: Axes,
    image: Image,
    grid: tuple[int, int],
    kept: Sequence[int] | None = None,
    groups: Sequence[Sequence[int]] = (),
    pixels: int = 300,
) -> None:
    """Draw one panel; without ``kept``, the image as it is. Parameters of `survivor_image`."""
    from matplotlib.collections import LineCollection

    rows, columns = grid
    everything = range(rows * columns)
    shown = survivor_image(image, grid, everything if kept is None else kept, groups, pixels)
    axes.imshow(shown, extent=(0, columns, rows, 0), interpolation="nearest")
    if kept is not None:
        axes.add_collection(LineCollection(kept_outline(grid, kept), colors="#222222", lw=0.5))
    bare(axes)


def shadow(image: Image) -> np.ndarray:
    """The image as black that is the more opaque the darker it is, [height, width, 4] in 0 to 1."""
    small = ImageOps.autocontrast(image.convert("L"))
    small.thumbnail((480, 480))
    lightness = np.asarray(small) / 255
    return np.dstack([np.zeros((*lightness.shape, 3)), 0.4 * (1 - lightness)])


def draw_scale(axes: Axes, largest: float, color: Colormap, label: str = "") -> None:
    """Draw what the shades of a map mean: square roots from 0 to `largest` and more, in percent."""
    axes.imshow(np.sqrt(np.linspace(0, 1, 256))[None], cmap=color, vmin=0, vmax=1, aspect="auto",
                extent=(0, 100 * largest, 0, 1))  # fmt: skip
    bare(axes)
    axes.set_xticks([0, 100 * largest], ["0", f"≥ {100 * largest:.2g} %"])
    axes.tick_params(axis="x", length=0, pad=1.5, labelsize=6)
    left, right = axes.get_xticklabels()
    left.set_ha("left")
    right.set_ha("right")
    axes.set_xlabel(label, size=6, labelpad=-5, color="#555555")


def bare(axes: Axes) -> None:
    """No ticks, a thin pale frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color="#bbbbbb", linewidth=0.5)


def word_lines(
    words: Sequence[str], characters: int, places: Sequence[int] | None = None, most: int = 99
) -> list[list[int]]:
    """Break words, or those at `places`, into lines of so many characters, as their indices.

    There are at most `most` lines; the last of them takes the rest. A full stop or question mark
    does not begin a line.
    """
    lines: list[list[int]] = [[]]
    for index in range(len(words)) if places is None else places:
        used = sum(len(shortened(words[i])) + 1 for i in [*lines[-1], index]) - 1
        used -= 2 * (words[index] in "?.!")
        if lines[-1] and used > characters and len(lines) < most:
            lines.append([])
        lines[-1].append(index)
    return lines


def shortened(text: str, characters: int = ROOM) -> str:
    """Return a text as one line that a figure can draw, cut at a word, or within one, with dots."""
    text = drawable(" ".join(text.split()))
    short = textwrap.shorten(text, characters, placeholder=" …")
    return text[: characters - 1] + "…" if short.strip() == "…" != text else short


def drawable(text: str) -> str:
    """Return a text as the fonts of this machine draw it: with codes for what none of them has.

    A font that has it joins those of the text made from now on; where there is none, a warning
    names what is lacking. Control characters other than line ends become codes too.
    """
    strange = {c for c in text if c != "\n" and not (_is_visible(c) and _is_drawn(c))}
    if lacking := sorted(filter(_is_visible, strange)):
        names = ", ".join(unicodedata.name(c, ascii(c)) for c in lacking[:3])
        warnings.warn(
            f"no font on this machine draws {names}{', ...' if lacking[3:] else ''}: the figure "
            "shows codes; install a font that does, such as Noto Sans CJK for Chinese",
            stacklevel=2,
        )
    return "".join(c.encode("unicode_escape").decode() if c in strange else c for c in text)


def make_drawable(figure: Figure) -> None:
    """See to it that a figure draws every text that is in it; see `drawable`."""
    import matplotlib
    from matplotlib.text import Text
    from matplotlib.ticker import FixedLocator

    def is_plain(text: Text) -> bool:
        return text.get_text().isascii() and text.get_text().isprintable()

    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        named = axis.get_ticklabels() if isinstance(axis.major.locator, FixedLocator) else []
        if not all(map(is_plain, named)):  # else a tick gets its old text when it is drawn
            axis.set_ticklabels([drawable(text.get_text()) for text in named])
    for text in figure.findobj(Text):
        if not is_plain(text):
            text.set_text(drawable(text.get_text()))
            text.set_family(matplotlib.rcParams["font.family"])


def _is_visible(character: str) -> bool:
    """Whether a character is part of a text, as blanks and joiners are, and controls nothing."""
    part = character.isprintable() or unicodedata.category(character) in ("Zs", "Cf")
    return part and character != "\ufeff"  # on which matplotlib's PDF fails


def _is_drawn(character: str) -> bool:
    """Whether a font of the figures, or one that joins them now, draws a character."""
    import matplotlib
    from matplotlib import font_manager

    chosen = matplotlib.rcParams["font.family"]
    fonts = [font_manager.findfont(font_manager.FontProperties(family=[name])) for name in chosen]
    if character.isascii() or any(ord(character) in _characters(path) for path in fonts):
        return True
    for font in sorted(font_manager.fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        if ord(character) in _characters(font.fname) and "Last Resort" not in font.name:
            matplotlib.rcParams["font.family"] = [*chosen, font.name]
            return True
    return False


@cache
def _characters(path: str) -> frozenset[int]:
    """Code points that a font draws; none for a font of bitmaps, as those of colored emoji are."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
    except RuntimeError:
        return frozenset()
    return frozenset(font.get_charmap()) if font.scalable else frozenset()


def draw_words(
    axes: Axes, words: Sequence[str], raters: Sequence[int], x: float, y: float, size: float = 7.5
) -> None:
    """Write words one after another, raters in color and bold; (x, y) in axes fractions."""
    renderer = axes.figure.canvas.get_renderer()
    at = axes.transAxes.transform((x, y))[0]
    space = size * 0.33 / 72 * axes.figure.dpi
    for index, word in enumerate(words):
        rates = index in raters
        text = axes.text(
            axes.transAxes.inverted().transform((at, 0))[0],
            y,
            shortened(word),
            transform=axes.transAxes,
            size=size,
            va="bottom",
            color=RATER_COLOR if rates else "#333333",
            weight="bold" if rates else "normal",
        )
        at += text.get_window_extent(renderer).width + space
