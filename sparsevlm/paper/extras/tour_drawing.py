"""Drawings of the tour, one per step. Each shows what the step returned and no more.

In one column of a paper the parts of a drawing stand below each other.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from sparsevlm.analysis import panels
from sparsevlm.analysis.drawing import log_y_axis
from sparsevlm.analysis.observe import AskedExample
from sparsevlm.analysis.style import OUTPUT, SMALLEST, use_style
from sparsevlm.analysis.survivors import GROUP_COLORS, draw_scale, drawable
from sparsevlm.paper.extras.tour import TourData, members
from sparsevlm.paper.figures.figure_2 import DROPPED, KEPT, RECYCLED, TEXT


def draw_question(data: TourData) -> Figure:
    """The picture with its patches, the question, and the sequence that both make."""
    use_style()  # lines are broken by what its fonts draw
    run, (rows, columns) = data.run, data.run.grid
    words = drawable(" ".join(run.example.question.split()))
    left, top, width = (2.8, 0.05, 3.9) if OUTPUT.columns == 2 else (0.05, 2.65, 3.15)
    size = min(12.0, max(6.0, 14 * (90 / max(1, len(words))) ** 0.5))
    lines = textwrap.wrap(words, int(122 * width / size), max_lines=9, placeholder=" …")
    bars = max(1.1, top + 0.15 + len(lines) * size * 1.3 / 72)
    canvas = panels.Canvas(OUTPUT.width, max(2.75, bars + 1.5))
    picture = canvas.panel(0.03, 0.05, 2.5, 2.5)
    panels.draw_stage(picture, run, width=1.6)
    look = {"color": "white", "lw": 0.25, "alpha": 0.55}
    picture.hlines(range(1, rows), 0, columns, **look)
    picture.vlines(range(1, columns), 0, rows, **look)
    canvas.text(left, top, "\n".join(lines), size=size, linespacing=1.3)
    last = run.sample.stages[-1]
    _draw_sequences(canvas, data, bars, 0.7, left, width, {
        "what the model reads, to scale": (run.sample.num_visual,),
        f"and what is left in the end, at a budget of {data.tokens}":
        (len(last.kept), len(last.groups)),
    })  # fmt: skip
    return canvas.figure


def draw_rating(data: TourData, rating: Tensor, scores: Tensor) -> Figure:
    """P with a row per rater, the mean of its columns, and this mean on the picture."""
    run, left, side = data.run, 0.95, 2.0
    width = OUTPUT.width - 3.2 if OUTPUT.columns == 2 else 2.25
    names = [panels.shortened(run.words[i], 12) for i in run.raters]
    row = max(0.11, min(0.5, 1.25 / len(names)))
    high, colors = row * len(names), panels.ramp(KEPT)
    tall = side * min(1.0, run.grid[0] / run.grid[1])
    beside, top = (4.7, 0.06) if OUTPUT.columns == 2 else (0.95, high + 1.35)
    canvas = panels.Canvas(OUTPUT.width, max(high + 1.25, top + tall + 0.69))
    canvas.text(left, 0.06, "P: where the raters look", weight="bold")
    below = 0.26 + high + 0.3
    canvas.text(left, below - 0.17, "score: mean of the column", weight="bold")
    for y, thick, values, labels in (
        (0.26, high, rating, names), (below, 0.3, scores[None], ["mean"]),
    ):  # fmt: skip
        axes = canvas.panel(left, y, width, thick)
        largest = max(np.percentile(values, 99.5), np.finfo(float).tiny)
        shades = np.sqrt(values.numpy() / largest)
        axes.imshow(shades, aspect="auto", cmap=colors, vmin=0, vmax=1, interpolation="nearest",
                    extent=(0, values.shape[1], len(values), 0))  # fmt: skip
        panels.bare(axes)
        axes.set_yticks(np.arange(len(labels)) + 0.5, labels)
        axes.tick_params(axis="y", length=0, labelsize=max(SMALLEST, min(8, 62 * row)))
    axes.set_xticks(
        [0, len(scores) - 1], ["token 0, upper left", f"{len(scores) - 1}, lower right"]
    )
    axes.tick_params(axis="x", labelsize=6, length=0)
    for label, place in zip(axes.get_xticklabels(), ("left", "right"), strict=True):
        label.set_ha(place)
    if run.target:
        axes.plot(np.array(run.target) + 0.5, np.full(len(run.target), 1.28), "|", ms=4,
                  color="black", clip_on=False)  # fmt: skip
        canvas.text(left + width / 2, below + 0.5, "ticks: what is asked for", size=6, ha="center",
                    color=TEXT)  # fmt: skip
    canvas.text(beside, top, "the same scores on the picture", weight="bold")
    axes = canvas.panel(beside, top + 0.2, side, tall)
    largest = panels.draw_map(axes, scores.numpy(), run.grid, KEPT, run.target, run.image)
    draw_scale(canvas.panel(beside, top + 0.27 + tall, side, 0.08), largest, colors, "score")
    return canvas.figure


def draw_choice(data: TourData, scores: Tensor, keep: Tensor, best: Tensor) -> Figure:
    """The scores in order, cut into kept, recycled and dropped; the same on the picture."""
    run, n = data.run, len(scores)
    wide, beside, low = (3.7, 4.6, 0.12) if OUTPUT.columns == 2 else (2.5, 0.62, 2.6)
    canvas = panels.Canvas(OUTPUT.width, low + 2.38)
    axes = canvas.panel(0.62, 0.12, wide, 1.95)
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
    panels.draw_stage(canvas.panel(beside, low, 2.1, 2.1), run, 0, [best.tolist()], width=1.2)
    return canvas.figure


def draw_groups(data: TourData, best: Tensor, squared: Tensor, density: Tensor,
                centers: Tensor, labels: Tensor) -> Figure:  # fmt: skip
    """Density against distance to a denser token: centers stand out; then the groups in place."""
    wide, beside, low = (3.6, 4.3, 0.1) if OUTPUT.columns == 2 else (2.65, 0.5, 2.8)
    canvas = panels.Canvas(OUTPUT.width, low + 2.65)
    axes = canvas.panel(0.5, 0.1, wide, 2.2)
    distance = (squared / data.sizes.hidden).sqrt()  # as the official code scales it
    away = distance.where(density > density[:, None], distance.amax()).amin(dim=1)
    colors = [GROUP_COLORS[group % len(GROUP_COLORS)] for group in labels.tolist()]
    axes.scatter(density, away, s=14, c=colors, lw=0)
    axes.scatter(density[centers], away[centers], s=48, facecolors="none", edgecolors="#222222",
                 lw=0.9, label="center of a group")  # fmt: skip
    axes.set(xlabel="density", ylabel="distance to the nearest denser token")
    if float(away.min()) > 0:
        log_y_axis(axes)
    axes.legend(loc="best")
    axes.grid()
    panels.draw_stage(
        canvas.panel(beside, low, 2.4, 2.4), data.run, 0, members(best, labels), width=1.2
    )
    return canvas.figure


def draw_sequence(data: TourData, kept: int, left: int) -> Figure:
    """The sequence before the stage and after it, to one scale."""
    canvas, layer = panels.Canvas(OUTPUT.width, 1.3), data.run.stages[0].layer
    _draw_sequences(canvas, data, 0.05, 0.6, 0.05, OUTPUT.width - 0.15, {
        f"layer {layer} has read": (data.run.sample.num_visual,),
        f"layer {layer + 1} reads": (kept, left - kept),
    })  # fmt: skip
    return canvas.figure


def draw_answers(dense: AskedExample, pruned: AskedExample) -> Figure:
    """What the dense model answers from, what the pruned one does, and the tokens of each layer."""
    side, beside, low = (2.0, 4.75, 0.24) if OUTPUT.columns == 2 else (1.5, 0.5, 2.4)
    canvas, ours = panels.Canvas(OUTPUT.width, low + 2.51), side + 0.15
    for x, title, one, stage in ((0.03, "dense", dense, None), (ours, "SparseVLM", pruned, -1)):
        left = one.sample.stages[stage].num_left if stage else one.sample.num_visual
        canvas.text(x, 0.05, f"{title}: {left} tokens", weight="bold")
        axes = canvas.panel(x, 0.24, side, side)
        panels.draw_stage(axes, one, stage, width=1.2)
        panels.draw_answer(axes, one, y=-0.05, size=10)
    axes = canvas.panel(beside, low, OUTPUT.width - beside - 0.05, 2.0)
    layers = np.arange(len(pruned.sample.tokens_in))
    axes.bar(layers, dense.sample.tokens_in, 0.85, color=DROPPED, label="dense")
    axes.bar(layers, pruned.sample.tokens_in, 0.85, color=KEPT, label="SparseVLM")
    axes.set(xlabel="layer", title="visual tokens that enter a layer")
    axes.set_xticks(layers[:: 1 + len(layers) // 9])
    axes.set_ylim(0, 1.3 * pruned.sample.num_visual)
    axes.legend(loc="upper right", ncols=2, fontsize=6.5)
    return canvas.figure


def draw_conversation(asked: Sequence[AskedExample]) -> Figure:
    """The picture, and what is left of it in the end for each question of a conversation."""
    side = (OUTPUT.width - 0.2) / 3
    room, size = int(side * 15), 7.5 if OUTPUT.columns == 2 else 6.0
    lines = [textwrap.wrap(one.example.question, room, max_lines=4, placeholder=" …")
             for one in asked]  # fmt: skip
    top = 0.1 + 0.12 * max(map(len, lines))
    canvas, before = panels.Canvas(OUTPUT.width, top + side + 0.5), set()
    panels.draw_survivors(canvas.panel(0.03, top, side, side), asked[0].image, asked[0].grid)
    for number, (one, question) in enumerate(zip(asked, lines, strict=True), start=1):
        left, kept = 0.03 + number * (side + 0.07), set(one.sample.stages[-1].kept)
        canvas.text(left, 0.03, "\n".join(question), size=size, weight="bold")
        axes = canvas.panel(left, top, side, side)
        panels.draw_stage(axes, one, -1, width=1.2)
        panels.draw_answer(axes, one, size=size)
        again = f", {len(kept & before) or 'none'} as before" if before else ""
        canvas.text(left, top + side + 0.2, f"{len(kept)} kept{again}", size=6)
        before = kept
    return canvas.figure


def _draw_sequences(canvas: panels.Canvas, data: TourData, top: float, step: float, left: float,
                    width: float, visual: dict[str, tuple[int, ...]]) -> None:  # fmt: skip
    """Bars to one scale: what stands before the picture, visual tokens, merged ones, the text."""
    run, total = data.run, None
    for name, tokens in visual.items():
        parts = (
            (run.answer.num_before, "before the picture", "#999999"),
            (tokens[0], "kept" if tokens[1:] else "visual tokens", KEPT),
            (sum(tokens[1:]), "merged", RECYCLED), (len(run.words), "text", "#0072B2"),
        )  # fmt: skip
        sizes = [size for size, _, _ in parts]
        total, starts = total or sum(sizes), np.cumsum([0, *sizes[:-1]])
        canvas.text(left, top, name, size=7.5, weight="bold")
        axes = canvas.panel(left, top + 0.17, width, 0.2)
        axes.set(xlim=(0, total), ylim=(0, 1))
        axes.axis("off")
        axes.barh(0.5, sizes, 1.0, left=starts, color=[color for _, _, color in parts],
                  lw=0.4, edgecolor="white")  # fmt: skip
        key = "  ".join(f"{size} {part}" for size, part, _ in parts if size)
        axes.text(0, -0.25, f"{key}  =  {sum(sizes)} tokens", size=7 if width > 3.5 else SMALLEST,
                  va="top", color=TEXT)  # fmt: skip
        top += step
