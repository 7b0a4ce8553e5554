"""Drawing of Figure 2: the six steps of one cut, and the sequence through all layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.paper.figures.figure_2 import Found, on_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KEPT, RECYCLED, DROPPED, TEXT = "#D55E00", "#56B4E9", "#d9d9d9", "#555555"
_LEFT = (0.04, 1.66, 3.62, 5.32)  # of the four panels of the middle row, in inches
_SIDE = 1.38


def draw(found: Found) -> Figure:
    """Who rates, P, scores, level, fates, and the visual tokens of every layer."""
    from sparsevlm.analysis.panels import Canvas

    canvas = Canvas(6.75, 5.0)
    layer = found.cut.layer
    _step(canvas, 0.04, 0.06, 1, "Which words rate?  relevance r, before layer 0")
    _draw_relevance(canvas, found)
    _step(canvas, 3.62, 0.06, 2, f"P: attention of the raters, layer {layer}")
    _draw_rating(canvas, found)
    middle = 1.82
    titles = ("before the cut", "scores: column mean of P", "level: how many stay",
              "keep, recycle, drop")  # fmt: skip
    for number, (x, title) in enumerate(zip(_LEFT, titles, strict=True)):
        _step(canvas, x, middle, number + 2, title, shown=number > 0)
    _draw_before(canvas.panel(_LEFT[0], middle + 0.2, _SIDE, _SIDE), found)
    _draw_scores(canvas.panel(_LEFT[1], middle + 0.2, _SIDE, _SIDE), found)
    _draw_level(canvas.panel(_LEFT[2] + 0.1, middle + 0.2, 1.34, _SIDE), found)
    _draw_after(canvas.panel(_LEFT[3], middle + 0.2, _SIDE, _SIDE), found)
    _step(canvas, 0.04, 3.72, 6, "visual tokens that enter each layer (blue: merged ones)")
    _draw_layers(canvas.panel(0.52, 3.92, 6.1, 0.74), found)
    return canvas.figure


def _step(canvas, x: float, y: float, number: int, title: str, shown: bool = True) -> None:
    if shown:
        canvas.text(x + 0.075, y + 0.055, str(number), size=6.5, weight="bold", color="white",
                    ha="center", va="center",
                    bbox={"boxstyle": "circle,pad=0.2", "facecolor": KEPT, "lw": 0})  # fmt: skip
    canvas.text(x + (0.2 if shown else 0.0), y, title, size=7, weight="bold")


def _draw_relevance(canvas, found: Found) -> None:
    from sparsevlm.analysis.panels import draw_sentence

    run = found.run
    bars = canvas.panel(0.3, 0.24, 2.96, 0.98)
    line = canvas.panel(0.3, 1.28, 2.96, 0.2)
    line.axis("off")
    line.set_ylim(-1, 1)
    places = draw_sentence(line, run.words, run.relevance, run.raters, 6.5).mean(axis=1)
    colours = [KEPT if i in run.raters else "#c9c9c9" for i in range(len(run.words))]
    bars.bar(places, run.relevance, width=0.13, color=colours)
    mean = 1 / len(run.words)
    bars.axhline(mean, color="#333333", lw=0.7, ls=(0, (4, 2)), zorder=0.5)
    bars.text(2.96, mean, "mean", size=6, ha="right", va="bottom", color="#333333")
    bars.set(xlim=(0, 2.96), xticks=[], ylim=(0, 1.0), yticks=[0, 0.5, 1])
    bars.tick_params(labelsize=6)
    note = "every patch votes for the word\nnearest to it; r: share of the votes"
    bars.text(2.96, 0.95, note, size=6.5, ha="right", va="top", color=TEXT, linespacing=1.4)


def _draw_rating(canvas, found: Found) -> None:
    from sparsevlm.analysis.panels import ramp

    cut, run = found.cut, found.run
    rows = len(run.raters)
    names = [run.words[i] for i in run.raters]
    x, width = 4.1, 2.6
    height = min(0.3, 0.72 / rows)
    axes = canvas.panel(x, 0.3, width, height * rows)
    shown = {"aspect": "auto", "cmap": ramp(KEPT), "interpolation": "nearest", "vmin": 0, "vmax": 1}
    largest = np.percentile(cut.rating, 99.5)
    axes.imshow(np.sqrt(cut.rating / largest), **shown)
    axes.set_yticks(range(rows), names)
    axes.set_xticks([])
    mean = canvas.panel(x, 0.3 + height * rows + 0.13, width, 0.2)
    largest = np.percentile(cut.scores, 99.5)
    mean.imshow(np.sqrt(cut.scores[None] / largest), **shown)
    mean.set_yticks([0], ["mean"])
    mean.set_xticks([])
    for part in (axes, mean):
        part.tick_params(axis="y", length=0, labelsize=6.5)
        for spine in part.spines.values():
            spine.set(visible=True, color="#bbbbbb", linewidth=0.5)
    count, gone = len(cut.fate), int((cut.fate > 0).sum())
    text = (f"{count} visual tokens, rank(P) = {cut.rank}\n{gone} go = λ ({count} − {cut.rank}), "
            f"so λ is {cut.lam:.2f}")  # fmt: skip
    canvas.text(x + width, 1.3, text, size=6.5, ha="right", color=TEXT, linespacing=1.4)


def _draw_before(axes: Axes, found: Found) -> None:
    from sparsevlm.analysis.panels import draw_fates, outline

    run, before = found.run, found.number - 1
    if before < 0:
        draw_fates(axes, run.image, run.sample.grid)
        axes.set_xlabel(f"{run.sample.num_visual} tokens", size=6.5, color=TEXT, labelpad=2)
    else:
        cut = run.sample.stages[before]
        draw_fates(axes, run.image, run.sample.grid, cut.kept, cut.groups)
        _count(axes, len(cut.kept), len(cut.groups))
    outline(axes, run.sample.grid, run.target, "#111111", 1.2)


def _count(axes: Axes, kept: int, groups: int) -> None:
    axes.set_xlabel(f"{kept} patches + {groups} merged", size=6.5, color=TEXT, labelpad=2)


def _draw_scores(axes: Axes, found: Found) -> None:
    from sparsevlm.analysis.panels import draw_map

    run = found.run
    values = on_grid(run, found.number, found.cut.scores)
    draw_map(axes, values, run.sample.grid, KEPT, run.target)
    axes.set_xlabel("grey: dropped before", size=6.5, color=TEXT, labelpad=2)


def _draw_level(axes: Axes, found: Found) -> None:
    cut = found.cut
    order = np.argsort(-cut.scores, kind="stable")
    place = np.arange(1, len(order) + 1)
    new = found.run.sample.stages[found.number].num_left - int((cut.fate == 0).sum())
    names = ("kept", f"merged into {new}", "dropped")
    for code, (colour, name) in enumerate(zip((KEPT, RECYCLED, DROPPED), names, strict=True)):
        mine = cut.fate[order] == code
        axes.vlines(place[mine], cut.scores.min() / 2, cut.scores[order][mine], color=colour,
                    lw=0.6)  # fmt: skip
        axes.text(0.98, 0.95 - 0.11 * code, f"{mine.sum()} {name}", transform=axes.transAxes,
                  ha="right", va="top", size=6.5, color="#888888" if code == 2 else colour,
                  weight="bold")  # fmt: skip
    axes.set_yscale("log")
    axes.set(xlim=(0, len(order) + 1), ylim=(cut.scores.min() / 2, None))
    axes.set_xlabel("tokens by score", size=6.5, labelpad=1)
    axes.tick_params(labelsize=5.5, pad=1)


def _draw_after(axes: Axes, found: Found) -> None:
    from sparsevlm.analysis.panels import draw_fates, outline

    run, cut = found.run, found.run.sample.stages[found.number]
    draw_fates(axes, run.image, run.sample.grid, cut.kept, cut.groups)
    outline(axes, run.sample.grid, run.target, "#111111", 1.2)
    _count(axes, len(cut.kept), len(cut.groups))


def _draw_layers(axes: Axes, found: Found) -> None:
    run = found.run
    groups = {stage.layer: len(stage.groups) for stage in run.sample.stages}
    light = 0
    for layer, entering in enumerate(run.sample.tokens_in):
        axes.bar(layer, entering - light, 0.72, color=KEPT)
        axes.bar(layer, light, 0.72, bottom=entering - light, color=RECYCLED)
        axes.text(layer, entering + 12, str(entering), ha="center", va="bottom", size=6.5)
        if layer in groups:
            light = groups[layer]
            shown = "bold" if layer == found.cut.layer else "normal"
            axes.text(layer + 0.5, 40, "cut", size=6.5, ha="center", color=TEXT, weight=shown)
    axes.set_xticks(range(len(run.sample.tokens_in)),
                    [f"layer {i}" for i in range(len(run.sample.tokens_in))])  # fmt: skip
    axes.tick_params(axis="x", length=0, labelsize=6.5)
    axes.set(ylim=(0, 1.2 * run.sample.num_visual), yticks=[0, run.sample.num_visual])
    mean = sum(run.sample.tokens_out) / len(run.sample.tokens_out)
    axes.text(1, 1.0, f"mean left by a layer: {mean:.0f} = the budget;  answer: {run.answer}",
              transform=axes.transAxes, ha="right", va="top", size=6.5, color=TEXT)  # fmt: skip
