"""The explorer as a figure: for papermill, HTML and print. The same colors, the same words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.patches import Patch, Rectangle

from sparsevlm.analysis import survivors
from sparsevlm.analysis.style import METHOD_STYLE, OUTPUT, SMALLEST, use_style
from sparsevlm.explorer.color_map import (
    LEVELS,
    RIGHT,
    WRONG,
    ColorChoice,
    ColorMap,
    TokenStyle,
    color_map,
    heat_color,
    legend,
)
from sparsevlm.explorer.exploration import Exploration, ModelInfo
from sparsevlm.explorer.geometry import Box, Montage
from sparsevlm.explorer.scene import percent
from sparsevlm.explorer.token_status import prefill_cost, snapshots, stage_positions

TEXT, TALLEST = 2.0, 3.0  # inches for words and answers, and for a panel
GAP, HEAD, FOOT = 0.08, 0.38, 0.34


def draw(
    found: Sequence[Exploration],
    model: ModelInfo,
    shown: Montage,
    choice: ColorChoice | None = None,
    caution: str = "",
) -> Figure:
    """One row per question or method: the image, the tokens after every stage, words and answers.

    In one column of a paper a row has two panels, and the words stand below them. The colors show
    the status of every token unless another choice is given; `caution` is a line at the bottom.
    """
    use_style()
    choice = choice or ColorChoice()
    panels = 1 + max(1, *(len(one.trace.stages) for one in found))
    width, beside = OUTPUT.width, OUTPUT.columns == 2
    columns = panels if beside else 2
    wide = (width - TEXT * beside - GAP * columns) / columns
    high = min(TALLEST, wide * shown.image.height / shown.image.width)
    words = max(0.0, *map(_text_inches, found))
    block = -(-panels // columns) * (high + FOOT)
    row = max(block, words + FOOT, 1.0 + FOOT) if beside else block + words + FOOT
    head = HEAD if beside else 0.75
    warning = textwrap.wrap(caution, 52 * OUTPUT.columns)
    height = head + row * len(found) + 0.1 * len(warning)
    fig = plt.figure(figsize=(width, height), layout="none")
    # Placed by hand, and a figure without an engine gets the default one when saved.
    fig.set_layout_engine(PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True))

    def place(x: float, y: float, w: float, h: float) -> Axes:
        return fig.add_axes((x / width, y / height, w / width, h / height))

    for index, one in enumerate(found):
        colors = color_map(one, choice if index == 0 else ColorChoice(choice.mode))
        through = snapshots(one.trace)
        top = height - head - index * row
        draw_image(place(0.03, top - high, wide, high), shown)
        for column, position in enumerate(stage_positions(one.trace), start=1):
            down, across = divmod(column, columns)
            low = top - high - down * (high + FOOT)
            axes = place(0.03 + across * (wide + GAP), low, wide, high)
            draw_panel(axes, shown, colors, position, one)
            scale = colors.scales[position] if colors.scales else ""
            count = through[column].caption.removesuffix(f" of {one.trace.num_visual}")
            caption = f"{scale[0]} to {scale[1]}" if scale else count
            axes.set_xlabel(caption, size=SMALLEST, labelpad=2, color="#555555")
            name = f"after layer {position - 1}" if position else "input"
            axes.set_title(name, size=6.5, pad=2.5)
        x, y = (0.03 + columns * (wide + GAP), top) if beside else (0.03, top - block + 0.1)
        _draw_text(place(x, top - row + 0.1, width - x - 0.03, y - top + row - 0.1), one, model)
    _draw_key(fig, found[0], choice)
    fig.text(0.005, 0.13 / height, "\n".join(warning), size=SMALLEST, color=WRONG, va="bottom")
    survivors.make_drawable(fig)
    return fig


def draw_image(axes: Axes, shown: Montage) -> None:
    """The montage as it is."""
    axes.imshow(shown.image, interpolation="nearest")
    survivors.bare(axes)
    axes.autoscale(False)  # what is drawn on it must not widen it


def draw_panel(
    axes: Axes, shown: Montage, colors: ColorMap, position: int, found: Exploration
) -> None:
    """The montage with the colors of one position, outlines, dots and forced patches."""
    draw_image(axes, shown)
    codes = colors.codes[colors.at[position]]
    drawn = [(box, colors.styles[code]) for box, code in zip(shown.rectangles, codes, strict=True)
             if box is not None]  # fmt: skip
    washed = [(box, style) for box, style in drawn if style.share]
    boxes = [Rectangle(box[:2], box[2], box[3]) for box, _ in washed]
    faces = [(*(v / 255 for v in survivors.rgb(style.color)), style.share) for _, style in washed]
    # Without edges and antialiasing no seams show between neighbors.
    axes.add_collection(
        PatchCollection(boxes, facecolors=faces, edgecolors="none", antialiased=False)
    )
    dots = [(box, style.dot) for box, style in drawn if style.dot]
    if dots:
        axes.scatter(*_centers(box for box, _ in dots), s=0.5, c=[d for _, d in dots], linewidths=0)
    edges = outline([box for box, style in drawn if style.outlined])
    axes.add_collection(LineCollection(edges, colors="#1a1a1a", lw=0.5))
    for tokens, sign, color in ((found.query.keep, "+", RIGHT), (found.query.drop, "x", WRONG)):
        centers = _centers(shown.rectangles[token] for token in tokens if shown.rectangles[token])
        axes.scatter(*centers, s=9, marker=sign, c=color, linewidths=0.9)


def _centers(boxes: Iterable[Box]) -> np.ndarray:
    """x and y of the middle of boxes (x, y, width, height), ``[2, boxes]``."""
    x, y, width, height = np.array(list(boxes), float).reshape(-1, 4).T
    return np.stack([x + width / 2, y + height / 2])


def outline(boxes: Sequence[Box]) -> list:
    """Edges that belong to one box alone, [(start, end), ...]."""
    seen: dict[tuple, list] = {}
    for x, y, w, h in boxes:
        corners = (x, y), (x + w, y), (x, y + h), (x + w, y + h)
        for a, b in ((0, 1), (2, 3), (0, 2), (1, 3)):
            edge = (corners[a], corners[b])
            seen.setdefault(tuple(round(2 * v) for point in edge for v in point), []).append(edge)
    return [edges[0] for edges in seen.values() if len(edges) == 1]


def _text_inches(found: Exploration) -> float:
    """The height that `_draw_text` needs above the foot of a row."""
    lines = 8.5 * len(textwrap.wrap(found.title, 32)) + 10 * len(
        survivors.word_lines(found.words, 25)
    )
    return (lines + 40) / 72


def _draw_text(axes: Axes, found: Exploration, model: ModelInfo) -> None:
    axes.axis("off")
    axes.set_xlim(0, 1)
    inches = axes.get_position().height * axes.figure.get_figheight()

    def write(x: float, points: float, text: str, **style: object) -> None:
        axes.text(x, 1 - points / 72 / inches, text, va="baseline", **style)

    down = 8.0
    color = METHOD_STYLE[found.query.method].color
    for line in textwrap.wrap(found.title, 32):
        write(0, down, line, size=7, weight="bold", color=color)
        down += 8.5
    down -= 7
    for line in survivors.word_lines(found.words, 25):
        down += 10
        rated = [place for place, index in enumerate(line) if index in found.raters]
        words = [found.words[index] for index in line]
        survivors.draw_words(axes, words, rated, 0.0, 1 - down / 72 / inches, size=6.5)
    down += 4
    mark, ink = ("✓", RIGHT) if found.same_answer else ("✗", WRONG)
    rows = ("dense", found.dense, "", "#222222"), ("pruned", found.pruned, f" {mark}", ink)
    for name, tokens, verdict, color in rows:
        down += 9.5
        said = " ".join(f"{t.text} ({percent(t.probability)})" for t in tokens)
        write(0, down, name, size=6, color="#777777")
        write(0.22, down, survivors.shortened(said, 36) + verdict, size=6, color=color)
    left, entering, flops, kv = (value for _, value, _ in prefill_cost(found, model))
    notes = (f"tokens out {left}, in {entering}", f"FLOPs {flops}, KV {kv} of dense")
    for line, note in enumerate(notes):
        write(0, down + 11 + 8 * line, note, size=SMALLEST, color="#555555")


def _draw_key(fig: Figure, found: Exploration, choice: ColorChoice) -> None:
    handles, place, two = [], (0.0, 1.0), OUTPUT.columns == 2
    for style, text in legend(found, choice):
        if isinstance(style, TokenStyle):
            edge = "#1a1a1a" if style.outlined else "#cccccc"
            label = text.partition(":")[0]
            handles.append(Patch(facecolor=style.on_gray, edgecolor=edge, lw=0.6, label=label))
        else:
            _draw_bar(fig, text)
            place = (1.0, 1.0) if two else (0.0, 1 - 0.4 / fig.get_figheight())
    if found.raters:
        handles.append(Patch(facecolor=survivors.RATER_COLOR, label="word that rates"))
    fig.legend(
        handles=handles, loc="upper right" if place[0] else "upper left", ncols=6 if two else 2,
        bbox_to_anchor=place,
        fontsize=SMALLEST, handlelength=1.0, handleheight=0.8, columnspacing=1.0,
        borderaxespad=0.3, handletextpad=0.4,
    )  # fmt: skip


def _draw_bar(fig: Figure, text: str) -> None:
    """The color bar of a heat map at the upper left, with its quantity."""
    width, height = fig.get_size_inches()
    colors = ListedColormap([heat_color(level) for level in range(LEVELS)])
    axes = fig.add_axes((0.05 / width, 1 - 0.135 / height, 0.45 / width, 0.075 / height))
    axes.imshow([range(LEVELS)], cmap=colors, aspect="auto")
    axes.axis("off")
    lines = textwrap.fill(text, 62 * OUTPUT.columns - 20)
    fig.text(0.55 / width, 1 - 0.045 / height, lines, size=SMALLEST, va="top", linespacing=1.15)
