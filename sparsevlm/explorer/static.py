"""The explorer as a figure: for papermill, HTML and print. The same colours, the same words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.analysis.style import METHOD_STYLE, figure_size, use_style
from sparsevlm.explorer.run import Model, Run
from sparsevlm.explorer.view import color_map as paint
from sparsevlm.explorer.view import palette, panels
from sparsevlm.explorer.view import token_status as fate
from sparsevlm.explorer.view.accounts import account
from sparsevlm.explorer.view.color_map import Choice, Painting
from sparsevlm.explorer.view.montage import Montage
from sparsevlm.explorer.view.palette import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXT = 2.0  # inches for words and answers
GAP, HEAD, FOOT = 0.08, 0.38, 0.34


def draw(runs: Sequence[Run], model: Model, shown: Montage, choice: Choice | None = None) -> Figure:
    """One row per run: the picture, the tokens after every cut, words and answers.

    Parameters
    ----------
    runs, model
        As recorded.
    shown
        The picture as laid out.
    choice
        What is painted; by default the fate of every token.

    Returns
    -------
    matplotlib.figure.Figure
        Two columns wide.
    """
    import matplotlib.pyplot as plt
    from matplotlib.layout_engine import PlaceHolderLayoutEngine

    use_style()
    choice = choice or Choice()
    columns = 1 + max(1, *(len(run.sample.stages) for run in runs))
    width = figure_size(2)[0]
    wide = (width - TEXT - GAP * columns) / columns
    high = wide * shown.image.height / shown.image.width
    row = max(high, 1.0) + FOOT
    height = HEAD + row * len(runs)
    fig = plt.figure(figsize=(width, height), layout="none")
    # Placed by hand, and a figure without an engine gets the default one when saved.
    fig.set_layout_engine(PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True))

    def place(x: float, y: float, w: float, h: float) -> Axes:
        return fig.add_axes((x / width, y / height, w / width, h / height))

    for index, run in enumerate(runs):
        own = choice if index == 0 else Choice(choice.mode)
        painting, through = paint.paint(run, own), fate.segments(run.sample)
        top = height - HEAD - index * row
        draw_picture(place(0.03, top - high, wide, high), shown)
        for column, position in enumerate(fate.cut_positions(run.sample), start=1):
            axes = place(0.03 + column * (wide + GAP), top - high, wide, high)
            draw_panel(axes, shown, painting, position, run)
            axes.set_xlabel(panels.caption(through[column]), size=5.5, labelpad=2, color="#555555")
            layer = run.sample.stages[column - 1].layer
            axes.set_title("input" if layer < 0 else f"after layer {layer}", size=6.5, pad=2.5)
        x = 0.03 + columns * (wide + GAP)
        _draw_text(place(x, top - row + 0.1, width - x - 0.03, row - 0.1), run, model)
    _draw_key(fig, runs[0], choice)
    return fig


def draw_picture(axes: Axes, shown: Montage) -> None:
    """The montage as it is."""
    axes.imshow(shown.image, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.autoscale(False)  # what is drawn on it must not widen it
    for spine in axes.spines.values():
        spine.set(visible=True, color="#bbbbbb", linewidth=0.5)


def draw_panel(axes: Axes, shown: Montage, painting: Painting, position: int, run: Run) -> None:
    """The montage with the colours of one position, outlines, dots and forced patches."""
    from matplotlib.collections import LineCollection, PatchCollection
    from matplotlib.patches import Rectangle

    draw_picture(axes, shown)
    codes = painting.codes[painting.at[position]]
    found = [(box, painting.looks[code]) for box, code in zip(shown.rectangles, codes, strict=True)
             if box is not None]  # fmt: skip
    washed = [(box, look) for box, look in found if look.share]
    boxes = [Rectangle(box[:2], box[2], box[3]) for box, _ in washed]
    colours = [(*(v / 255 for v in palette.rgb(look.colour)), look.share) for _, look in washed]
    # Without edges and antialiasing no seams show between neighbours.
    axes.add_collection(
        PatchCollection(boxes, facecolors=colours, edgecolors="none", antialiased=False)
    )
    dots = [(box, look.dot) for box, look in found if look.dot]
    if dots:
        centres = np.array([(box[0] + box[2] / 2, box[1] + box[3] / 2) for box, _ in dots])
        axes.scatter(*centres.T, s=0.5, c=[dot for _, dot in dots], linewidths=0)
    edges = outline([box for box, look in found if look.outlined])
    axes.add_collection(LineCollection(edges, colors="#1a1a1a", lw=0.5))
    for tokens, sign, colour in ((run.ask.keep, "+", palette.RIGHT),
                                 (run.ask.drop, "x", palette.WRONG)):  # fmt: skip
        centres = [shown.rectangles[token] for token in tokens if shown.rectangles[token]]
        xs = [box[0] + box[2] / 2 for box in centres]
        ys = [box[1] + box[3] / 2 for box in centres]
        axes.scatter(xs, ys, s=9, marker=sign, c=colour, linewidths=0.9)


def outline(boxes: Sequence[tuple[float, float, float, float]]) -> list:
    """Edges that belong to one box alone, [(start, end), ...]."""
    seen: dict[tuple, list] = {}
    for x, y, w, h in boxes:
        corners = (x, y), (x + w, y), (x, y + h), (x + w, y + h)
        for a, b in ((0, 1), (2, 3), (0, 2), (1, 3)):
            edge = (corners[a], corners[b])
            seen.setdefault(tuple(round(2 * v) for point in edge for v in point), []).append(edge)
    return [edges[0] for edges in seen.values() if len(edges) == 1]


def _draw_text(axes: Axes, run: Run, model: Model) -> None:
    axes.axis("off")
    axes.set_xlim(0, 1)
    inches = axes.get_position().height * axes.figure.get_figheight()

    def at(points: float) -> float:
        return 1 - points / 72 / inches

    down = 8.0
    label = panels.title(run, 0, "methods")
    colour = METHOD_STYLE[run.ask.method].color
    axes.text(0, at(down), label, size=7, weight="bold", color=colour, va="baseline")
    for line in lines_of(run.words):
        down += 10
        _draw_words(axes, run, line, at(down))
    down += 4
    for name, tokens in (("dense", run.dense), ("pruned", run.pruned)):
        down += 9.5
        axes.text(0, at(down), name, size=6, color="#777777", va="baseline")
        shown = " ".join(f"{t.text} ({panels.percent(t.probability)})" for t in tokens)
        same = [t.text for t in tokens] == [t.text for t in run.dense]
        mark, ink = ("✓", palette.RIGHT) if same else ("✗", palette.WRONG)
        text = f"{_short(shown)} {mark}" if name == "pruned" else _short(shown)
        ink = ink if name == "pruned" else "#222222"
        axes.text(0.22, at(down), text, size=6, color=ink, va="baseline")
    counted = account(run, model)
    down += 11
    note = (f"tokens out {counted.mean_out:.1f}, in {counted.mean_in:.1f}",
            f"FLOPs {counted.flops / counted.dense_flops:.0%}, KV "
            f"{counted.kv / counted.dense_kv:.0%} of dense")  # fmt: skip
    for line in note:
        axes.text(0, at(down), line, size=5.5, color="#555555", va="baseline")
        down += 8


def _short(text: str, most: int = 36) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def lines_of(words: Sequence[str], most: int = 25) -> list[list[int]]:
    """Indices of the words, line by line."""
    lines: list[list[int]] = [[]]
    for index, word in enumerate(words):
        used = sum(len(words[i]) + 1 for i in lines[-1])
        if lines[-1] and used + len(word) > most:
            lines.append([])
        lines[-1].append(index)
    return lines


def _draw_words(axes: Axes, run: Run, line: list[int], y: float) -> None:
    from sparsevlm.analysis.survivors import draw_words

    rated = [line.index(index) for index in line if index in run.raters]
    # A dollar sign would start mathematics.
    words = [run.words[index].replace("$", r"\$") for index in line]
    draw_words(axes, words, rated, 0.0, y, size=6.5)


def _draw_key(fig: Figure, run: Run, choice: Choice) -> None:
    from matplotlib.patches import Patch

    handles, bar = [], [palette.heat_colour(level) for level in range(0, palette.LEVELS, 3)]
    keys = paint.legend(run, choice)
    for look, text in keys:
        if isinstance(look, Look):
            face = palette.mixed("#8c8c8c", look.colour, look.share)
            edge = "#1a1a1a" if look.outlined else "#cccccc"
            handles.append(Patch(facecolor=face, edgecolor=edge, lw=0.6, label=text))
        else:
            _draw_bar(fig, bar, text)
    if run.raters:
        handles.append(Patch(facecolor=palette.RATER, label="word that rates"))
    has_bar = len(handles) < len(keys) + bool(run.raters)
    fig.legend(
        handles=handles, loc="upper right" if has_bar else "upper left", ncols=len(handles),
        bbox_to_anchor=(1.0 if has_bar else 0.0, 1.0), fontsize=5.5, handlelength=1.0,
        handleheight=0.8, columnspacing=1.0, borderaxespad=0.3, handletextpad=0.4,
    )  # fmt: skip


def _draw_bar(fig: Figure, colours: Sequence[str], text: str) -> None:
    """The colour bar of a heat map at the upper left, with its quantity."""
    from matplotlib.patches import Rectangle

    width, height = fig.get_size_inches()
    step, tall = 0.045 / width, 0.075 / height
    for index, colour in enumerate(colours):
        corner = (0.05 / width + index * step, 1 - 0.06 / height - tall)
        fig.add_artist(Rectangle(corner, step, tall, color=colour, lw=0))
    end = 0.05 / width + len(colours) * step + 0.05 / width
    lines = text.replace("; ", ";\n")
    fig.text(end, 1 - 0.045 / height, lines, size=5.5, va="top", linespacing=1.15)
