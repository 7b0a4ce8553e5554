"""Drawing of the attention maps: every layer and head of one question, and means over many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.analysis import ask
from sparsevlm.paper.extras.attention_maps import WHO, Found, rows_of, sinks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_heads(found: Found) -> Figure:
    """Columns are layers; rows are heads (mean over the raters), then means over heads."""
    from sparsevlm.analysis.panels import ALL_TEXT, LAST_TOKEN, RATERS, Canvas

    layers, heads = found.example.visual.shape[:2]
    left, side = 0.78, (6.75 - 0.78 - 0.03) / layers - 0.04
    step = side + 0.04
    top = 0.55
    canvas = Canvas(6.75, top + step * (heads + 3) + 0.36)
    _draw_header(canvas, found, left, step, side)
    raters, words, last = rows_of(found.example)
    rows = [(f"head {h}", raters[:, h], RATERS, 0.0) for h in range(heads)]
    rows += [
        ("mean over\nheads", raters.mean(1), RATERS, 0.09),
        ("all words,\nmean", words.mean(1), ALL_TEXT, 0.09),
        ("last token,\nmean", last.mean(1), LAST_TOKEN, 0.09),
    ]
    for number, (name, maps, colour, gap) in enumerate(rows):
        y = top + number * step + gap
        how = {"size": 6.5, "ha": "right", "va": "center", "color": colour}
        canvas.text(left - 0.06, y + side / 2, name, **how)
        for layer in range(layers):
            axes = canvas.panel(left + layer * step, y, side, side)
            _draw_one(axes, found, layer, maps[layer], colour, with_sinks=number >= heads)
    key = (
        "outline: what is asked for · circles: sinks · shade: square root of the attention to the "
        "image, darkest at the 99.5th percentile of each map"
    )
    canvas.text(left, top + step * (heads + 3) + 0.12, key, size=5.5, color="#555555")
    return canvas.figure


def _draw_header(canvas, found: Found, left: float, step: float, side: float) -> None:
    from sparsevlm.analysis.panels import draw_fates, outline
    from sparsevlm.analysis.survivors import draw_words

    example = found.example
    axes = canvas.panel(0.03, 0.03, 0.5, 0.5)
    draw_fates(axes, ask.scene_of(example.scene_seed).image, found.grid)
    outline(axes, found.grid, example.target, "white")
    line = canvas.panel(left, 0.06, 4, 0.2)
    line.axis("off")
    words = example.question.split()
    draw_words(line, words, [i for i in example.raters if i < len(words)], 0, 0.1)
    for layer in range(example.visual.shape[0]):
        canvas.text(left + layer * step + side / 2, 0.39, f"layer {layer}", size=6.5, ha="center")


def _draw_one(axes: Axes, found: Found, layer: int, values: np.ndarray, colour: str,
              with_sinks: bool) -> None:  # fmt: skip
    from sparsevlm.analysis.panels import draw_map

    draw_map(axes, values, found.grid, colour, found.example.target)
    if with_sinks:
        where = sinks(found.example.visual[layer])
        rows, columns = np.divmod(where, found.grid[1])
        axes.plot(columns + 0.5, rows + 0.5, "o", ms=4, mfc="none", mec="#333333", mew=0.6)


def draw_layers(found: Found) -> Figure:
    """Attention on the target by layer, over its area, for the raters, all words, last token."""
    import matplotlib.pyplot as plt

    from sparsevlm.analysis.panels import ALL_TEXT, LAST_TOKEN, RATERS
    from sparsevlm.analysis.style import figure_size, use_style

    use_style()
    figure, axes = plt.subplots(figsize=figure_size(1, 2.3))
    layers = np.arange(found.mass.shape[1])
    colours, marks = (RATERS, ALL_TEXT, LAST_TOKEN), ("o", "P", "s")
    for column, (who, colour, mark) in enumerate(zip(WHO, colours, marks, strict=True)):
        mean, low, high = 100 * ask.mean_and_interval(found.mass[..., column])
        axes.fill_between(layers, low, high, color=colour, alpha=0.15, lw=0)
        axes.plot(layers, mean, color=colour, marker=mark, label=who)
    axes.plot(layers, 100 * found.best_head.mean(0), color=RATERS, ls=":", lw=1,
              label="raters, best head")  # fmt: skip
    axes.axhline(100 * found.area.mean(), color="#333333", lw=0.8, ls=(0, (4, 2)),
                 label="area of the target")  # fmt: skip
    axes.set(xlabel="layer of the dense model", ylim=(0, 100), xticks=layers)
    axes.set_ylabel("attention to the image\nthat lies on the target, %")
    axes.grid(axis="y")
    axes.legend(loc="upper right")
    return figure


DRAWINGS = {"_heads": draw_heads, "_layers": draw_layers}
