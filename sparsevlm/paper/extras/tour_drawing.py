"""Drawings of the tour, one per step. Each shows what the step returned and no more."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.paper.figures.figure_2 import DROPPED, KEPT, RECYCLED, TEXT
from sparsevlm.paper.figures.figure_6 import stage_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from torch import Tensor

    from sparsevlm.analysis.observe import AskedExample
    from sparsevlm.analysis.panels import Canvas
    from sparsevlm.paper.extras.tour import TourData

QUESTION = "#0072B2"
_FEWEST_COLUMNS = 3


def draw_question(data: TourData) -> Figure:
    """The picture with its patches, the question, and the sequence that both make."""
    from sparsevlm.analysis.panels import Canvas, draw_stage
    from sparsevlm.analysis.survivors import drawable

    run, canvas, (rows, columns) = data.run, Canvas(6.75, 2.75), data.run.grid
    picture = canvas.panel(0.03, 0.05, 2.5, 2.5)
    draw_stage(picture, run, width=1.6)
    look = {"color": "white", "lw": 0.25, "alpha": 0.55}
    picture.hlines(range(1, rows), 0, columns, **look)
    picture.vlines(range(1, columns), 0, rows, **look)
    words = drawable(" ".join(run.example.question.split()))
    size = min(14.0, max(6.0, 14 * (90 / max(1, len(words))) ** 0.5))
    lines = textwrap.wrap(words, int(34 * 14 / size), max_lines=9, placeholder=" …")
    canvas.text(2.8, 0.05, "\n".join(lines), size=size, linespacing=1.3)
    total = run.answer.num_before + run.sample.num_visual + len(run.words)
    last = run.sample.stages[-1]
    for top, title, visual in (
        (1.25, "what the model reads, to scale", [(run.sample.num_visual, "visual tokens", KEPT)]),
        (1.95, f"and what is left in the end, at a budget of {data.tokens}",
         [(len(last.kept), "kept", KEPT), (len(last.groups), "merged", RECYCLED)]),
    ):  # fmt: skip
        canvas.text(2.8, top, title, size=7.5, weight="bold")
        _draw_sequence(canvas, _parts(data, visual), top + 0.17, total, 2.8, 3.9)
    return canvas.figure


def draw_rating(data: TourData, rating: Tensor, scores: Tensor) -> Figure:
    """P with a row per rater, the mean of its columns, and this mean on the picture."""
    from sparsevlm.analysis.panels import Canvas, bare, draw_map, ramp, shortened
    from sparsevlm.analysis.survivors import draw_scale

    run, left, width, side = data.run, 0.95, 3.55, 2.0
    names = [shortened(run.words[i], 12) for i in run.raters]
    row = max(0.11, min(0.34, 1.25 / len(names)))
    high, colors = row * len(names), ramp(KEPT)
    canvas = Canvas(6.75, max(2.75, high + 1.25))
    canvas.text(left, 0.06, "P: attention of the raters to every visual token", weight="bold")
    below = 0.26 + high + 0.3
    canvas.text(left, below - 0.17, "score: mean of the column", weight="bold")
    for y, tall, values, labels in (
        (0.26, high, rating, names), (below, 0.3, scores[None], ["mean"]),
    ):  # fmt: skip
        axes = canvas.panel(left, y, width, tall)
        largest = max(np.percentile(values, 99.5), np.finfo(float).tiny)
        shades = np.sqrt(values.numpy() / largest)
        axes.imshow(shades, aspect="auto", cmap=colors, vmin=0, vmax=1,
                    extent=(0, values.shape[1], len(values), 0))  # fmt: skip
        bare(axes)
        axes.set_yticks(np.arange(len(labels)) + 0.5, labels)
        axes.tick_params(axis="y", length=0, labelsize=max(5.5, min(8, 62 * row)))
    axes.set_xticks(
        [0, len(scores) - 1], ["token 0, upper left", f"{len(scores) - 1}, lower right"]
    )
    axes.tick_params(axis="x", labelsize=6, length=0)
    for label, place in zip(axes.get_xticklabels(), ("left", "right"), strict=True):
        label.set_ha(place)
    if run.target:
        axes.plot(np.array(run.target) + 0.5, np.full(len(run.target), 1.28), "|", ms=4,
                  color="black", clip_on=False)  # fmt: skip
        canvas.text(left + width / 2, below + 0.36, "ticks: what is asked for", size=6, ha="center",
                    color=TEXT)  # fmt: skip
    canvas.text(4.7, 0.06, "the same scores on the picture", weight="bold")
    tall = side * min(1.0, run.grid[0] / run.grid[1])
    axes = canvas.panel(4.7, 0.26, side, tall)
    largest = draw_map(axes, scores.numpy(), run.grid, KEPT, run.target, run.image)
    draw_scale(canvas.panel(4.7, 0.33 + tall, side, 0.08), largest, colors, "score")
    return canvas.figure


def draw_choice(data: TourData, scores: Tensor, keep: Tensor, best: Tensor) -> Figure:
    """The scores in order, cut into kept, recycled and dropped; the same on the picture."""
    from sparsevlm.analysis.panels import Canvas, draw_stage, log_y_axis

    run, n = data.run, len(scores)
    canvas = Canvas(6.75, 2.5)
    axes = canvas.panel(0.62, 0.12, 3.7, 1.95)
    order = np.sort(scores.numpy())[::-1] * 100
    ends = [0, len(keep), len(keep) + len(best), n]
    names = ("kept", "recycled", "dropped")
    for color, name, start, end in zip(
        (KEPT, RECYCLED, DROPPED), names, ends, ends[1:], strict=False
    ):
        axes.bar(np.arange(start, end) + 0.5, order[start:end], 1.0, color=color, lw=0,
                 label=f"{end - start} {name}")  # fmt: skip
    log_y_axis(axes)
    axes.set(xlim=(0, n), xlabel="visual tokens, best first")
    axes.set_ylim(max(order.min(), order.max() * 1e-5, 1e-12) / 1.5, order.max() * 1.5)
    axes.set_ylabel("score, %")
    axes.legend(loc="upper right")
    picture = canvas.panel(4.6, 0.12, 2.1, 2.1)
    draw_stage(picture, run, 0, [best.tolist()], width=1.2)
    return canvas.figure


def draw_groups(data: TourData, best: Tensor, squared: Tensor, density: Tensor,
                centers: Tensor, labels: Tensor) -> Figure:  # fmt: skip
    """Density against distance to a denser token: centers stand out; then the groups in place."""
    from sparsevlm.analysis.panels import Canvas, draw_stage, log_y_axis
    from sparsevlm.analysis.survivors import GROUP_COLORS

    canvas = Canvas(6.75, 2.75)
    axes = canvas.panel(0.5, 0.1, 3.6, 2.2)
    # As the official code scales it; of the densest one: the largest distance that there is.
    distance = (squared / data.hidden.shape[1]).sqrt()
    denser = density > density[:, None]
    farthest = distance.amax()
    away = distance.where(denser, farthest).amin(dim=1)
    colors = [GROUP_COLORS[group % len(GROUP_COLORS)] for group in labels.tolist()]
    axes.scatter(density, away, s=14, c=colors, lw=0)
    axes.scatter(density[centers], away[centers], s=48, facecolors="none", edgecolors="#222222",
                 lw=0.9, label="center of a group")  # fmt: skip
    axes.set(xlabel="density", ylabel="distance to the nearest denser token")
    if float(away.min()) > 0:
        log_y_axis(axes)
    axes.legend(loc="best")
    axes.grid()
    order = best.tolist()
    groups = [[order[i] for i in np.flatnonzero(labels == g)] for g in range(len(centers))]
    draw_stage(canvas.panel(4.3, 0.1, 2.4, 2.4), data.run, 0, groups, width=1.2)
    return canvas.figure


def draw_sequence(data: TourData, kept: int, left: int) -> Figure:
    """The sequence before the stage and after it, to one scale."""
    from sparsevlm.analysis.panels import Canvas

    canvas, n = Canvas(6.75, 1.35), data.run.sample.num_visual
    before = _parts(data, [(n, "visual tokens", KEPT)])
    after = _parts(data, [(kept, "kept", KEPT), (left - kept, "merged", RECYCLED)])
    total = sum(size for size, _, _ in before)
    for top, name, parts in ((0.2, "before", before), (0.78, "after", after)):
        canvas.text(0.05, top + 0.1, name, va="center", size=8)
        _draw_sequence(canvas, parts, top, total, 0.6, 6.1)
    return canvas.figure


def draw_life(data: TourData) -> Figure:
    """Every stage: the scores before it on what is left, and what is left after it."""
    from sparsevlm.analysis.panels import Canvas, draw_map, draw_stage, ramp
    from sparsevlm.analysis.survivors import draw_scale

    run = data.run
    side = 6.69 / max(_FEWEST_COLUMNS, len(run.stages)) - 0.06
    tall = side * min(1.4, run.grid[0] / run.grid[1])
    canvas = Canvas(6.75, 2 * tall + 1.05)
    for number, (stage, traced) in enumerate(zip(run.breakdowns, run.sample.stages, strict=True)):
        x, low = 0.03 + number * (side + 0.06), 0.52 + tall
        canvas.text(x + side / 2, 0.04, stage_title(traced), ha="center", size=8)
        axes = canvas.panel(x, 0.22, side, tall)
        values = run.on_grid(number, stage.scores)
        largest = draw_map(axes, values, run.grid, KEPT, run.target, run.image)
        draw_scale(canvas.panel(x, 0.27 + tall, side, 0.07), largest, ramp(KEPT), "score before it")
        axes = canvas.panel(x, low, side, tall)
        draw_stage(axes, run, number, width=1.0)
        label = f"{len(traced.kept)} patches + {len(traced.groups)} merged tokens"
        if run.target:
            label += f"\n{run.kept_of_target(number)} of the {len(run.target)} patches asked for"
        axes.set_xlabel(label, size=7, color="#555555", labelpad=3)
    return canvas.figure


def draw_answers(dense: AskedExample, pruned: AskedExample) -> Figure:
    """What the dense model answers from, what the pruned one does, and the tokens of each layer."""
    from sparsevlm.analysis.panels import Canvas, draw_answer, draw_stage

    canvas, side = Canvas(6.75, 2.75), 2.0
    for x, title, one, stage in ((0.03, "dense", dense, None), (2.15, "SparseVLM", pruned, -1)):
        left = one.sample.stages[stage].num_left if stage else one.sample.num_visual
        canvas.text(x, 0.05, f"{title}: {left} visual tokens", weight="bold")
        axes = canvas.panel(x, 0.24, side, side)
        draw_stage(axes, one, stage, width=1.2)
        draw_answer(axes, one, y=-0.05, size=10)
    axes = canvas.panel(4.75, 0.24, 1.95, side)
    layers = np.arange(len(pruned.sample.tokens_in))
    axes.bar(layers, dense.sample.tokens_in, 0.85, color=DROPPED, label="dense")
    axes.bar(layers, pruned.sample.tokens_in, 0.85, color=KEPT, label="SparseVLM")
    axes.set(xlabel="layer", title="visual tokens that enter a layer")
    axes.set_xticks(layers[:: 1 + len(layers) // 9])
    axes.set_ylim(0, 1.3 * pruned.sample.num_visual)
    axes.legend(loc="upper right", ncols=2, fontsize=6.5)
    return canvas.figure


def _parts(data: TourData, visual: Sequence[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
    """The sequence as (tokens, name, color): what stands before the picture, it, the text."""
    before, words = data.run.answer.num_before, len(data.run.words)
    return [(before, "", "#999999"), *visual, (words, "text", QUESTION)]


def _draw_sequence(canvas: Canvas, parts: Sequence[tuple[int, str, str]], top: float, total: int,
                   left: float, width: float) -> None:  # fmt: skip
    """A bar to scale, a piece per part of the sequence, each with its length."""
    axes = canvas.panel(left, top, width, 0.2)
    axes.set(xlim=(0, total), ylim=(0, 1))
    axes.axis("off")
    start = 0
    for size, _, color in parts:
        axes.barh(0.5, size, 1.0, left=start, color=color, lw=0.4, edgecolor="white")
        start += size
    legend = "   ".join(f"{size} {name or 'before the picture'}" for size, name, _ in parts if size)
    axes.text(0, -0.25, f"{legend}   =  {start} tokens", size=7, va="top", color=TEXT)
