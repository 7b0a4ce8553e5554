"""Drawing of Figure 7: an example, the two shares over all questions, and what deletion costs."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsevlm.analysis.panels import Canvas, draw_survivors, outline, shortened
from sparsevlm.analysis.statistics import mean_and_interval
from sparsevlm.paper.figures import figure_7

# No color of a method: nothing here is one.
IMAGE, TEXT, CONTENT = "#2F6487", "#8C3B6B", "#8DBAD3"
_LOOKS = dict(zip(figure_7.ORDERS, ((CONTENT, "o"), (IMAGE, "s"), (TEXT, "^")), strict=True))


def draw(data: figure_7.Figure7Data, example: int = 0) -> Figure:
    """Three panels: one question, the shares that hold the attention, answers after deletion."""
    canvas = Canvas(6.75, 2.6, [(0, 0, 1.82, 2.6), (2.1, 0, 3.5, 2.6), (3.7, 0, 6.7, 2.6)])
    percent = f"{100 * figure_7.HELD:.0f} %"
    canvas.text(0.04, 0.05, f"(a) tokens that hold {percent}", weight="bold")
    canvas.text(0.04, 0.175, "of the attention of the answer", weight="bold")
    _draw_example(canvas, data.questions[example])
    canvas.text(2.1, 0.05, "(b) share of them", weight="bold")
    _draw_shares(canvas.panel(2.48, 0.42, 1.0, 1.66), data)
    canvas.text(3.8, 0.05, "(c) same answer after tokens are deleted", weight="bold")
    _draw_deletion(canvas.panel(4.2, 0.42, 2.4, 1.66), data)
    return canvas.figure


def _draw_example(canvas: Canvas, one: figure_7.QuestionRedundancy) -> None:
    side, asked = 1.66, one.asked
    axes = canvas.panel(0.04, 0.42, side, side)
    draw_survivors(axes, asked.image, asked.grid, figure_7.holders(one.image))
    outline(axes, asked.grid, asked.target, "#111111", 1.2)
    line = canvas.panel(0.04, 2.14, 2.0, 0.4)
    line.axis("off")
    _draw_words(line, one)


def _draw_words(axes: Axes, one: figure_7.QuestionRedundancy) -> None:
    """Words that hold the attention dark, the others pale; two lines."""
    words = [shortened(one.asked.words[i]) for i in one.asked.asked]
    held = set(figure_7.holders(one.words).tolist())
    renderer, figure = axes.figure.canvas.get_renderer(), axes.figure
    size = 7 * min(1, 55 / len(" ".join(words)))
    at, y, width = 0.0, 0.95, axes.get_window_extent(renderer).width
    for index, word in enumerate(words):
        shown = axes.text(
            at, y, word, transform=axes.transAxes, size=size, va="top",
            weight="bold" if index in held else "normal",
            color=TEXT if index in held else "#bbbbbb",
        )  # fmt: skip
        share = shown.get_window_extent(renderer).width / width
        if at + share > 0.92:
            at, y = 0.0, y - 0.4
            shown.set_position((at, y))
        at += share + 0.02 * figure.dpi / width * 2
    patches = len(figure_7.holders(one.image))
    text = f"{len(held)} of {len(words)} words, {patches} of {len(one.image)} patches"
    axes.text(0, y - 0.4, text, transform=axes.transAxes, size=6, va="top", color="#555555")


def _draw_shares(axes: Axes, data: figure_7.Figure7Data) -> None:
    frame = figure_7.table(data)
    for x, (name, color) in enumerate((("image", IMAGE), ("words", TEXT))):
        values = 100 * frame[f"holders, {name}"].to_numpy()
        jitter = np.random.default_rng(0).uniform(-0.17, 0.17, len(values))
        axes.scatter(x + jitter, values, s=9, color=color, alpha=0.55, lw=0)
        mean, low, high = mean_and_interval(values)
        axes.plot([x - 0.3, x + 0.3], [mean, mean], color="#222222", lw=1.4)
        axes.plot([x, x], [low, high], color="#222222", lw=1)
        axes.text(x + 0.33, mean, f"{mean:.0f} %", size=6.5, va="center")
    axes.set_xticks([0, 1], ["image", "question"])
    axes.set_xlim(-0.5, 1.75)
    axes.set_ylim(0, 105)
    axes.set_ylabel("tokens, %", labelpad=2)
    axes.grid(axis="y")


def _draw_deletion(axes: Axes, data: figure_7.Figure7Data) -> None:
    for order in data.questions[0].same:
        values = np.array([one.same[order] for one in data.questions])
        # With nothing deleted every answer is the same.
        mean, low, high = np.insert(100 * mean_and_interval(values), 0, 100, axis=1)
        shares, (color, marker) = 100 * np.array([0, *figure_7.deleted(order)]), _LOOKS[order]
        axes.fill_between(shares, low, high, color=color, alpha=0.15, lw=0)
        axes.plot(shares, mean, color=color, marker=marker, label=order)
    axes.set(xlim=(0, 100), ylim=(0, 105), xlabel="tokens deleted, %")
    axes.set_ylabel("same first word, %", labelpad=2)
    axes.grid()
    axes.legend(loc="lower left", fontsize=6, borderaxespad=0.2)
