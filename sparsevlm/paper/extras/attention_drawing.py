"""Drawings of the attention maps: a row per stage, and a curve over the layers."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sparsevlm.analysis import panels
from sparsevlm.analysis.statistics import mean_and_interval
from sparsevlm.analysis.style import OUTPUT, use_style
from sparsevlm.analysis.survivors import draw_scale, draw_survivors, word_lines
from sparsevlm.paper.extras import attention_maps
from sparsevlm.paper.figures.figure_2 import KEPT

_GAP = 0.09  # between panels, in inches


def draw_stages(data: attention_maps.StageAttention, with_answer: bool = True) -> Figure:
    """A row per stage: the picture before it, the attention, the survivors, and what is lost.

    In one column of a paper these four are two rows.
    """
    use_style()  # lines are broken by what its fonts draw
    run, (rows, columns), across = data.run, data.run.grid, 2 * OUTPUT.columns
    side = (OUTPUT.width - 0.06 - (across - 1) * _GAP) / across
    tall = side * min(1.4, rows / columns)
    lines, top = word_lines(run.words, 35 * OUTPUT.columns, run.asked), 0.1
    step, shown = 0.2 + 4 / across * (tall + 0.58), data.shown or range(len(run.stages))
    canvas = panels.Canvas(OUTPUT.width, top + 0.22 * len(lines) + step * len(shown) + 0.32)
    for line in lines:
        axes = canvas.panel(0.03, top, OUTPUT.width - 0.15, 0.2)
        axes.axis("off")
        chosen = [place for place, word in enumerate(line) if word in data.chosen]
        panels.draw_words(axes, [run.words[i] for i in line], chosen, 0.0, 0.1, 10)
        top += 0.22
    who = ", ".join(panels.shortened(run.words[i]) for i in data.chosen)
    who = panels.shortened(who, 40 * OUTPUT.columns)
    canvas.text(0.03, top - 0.02, f"attention of: {who}", color="#555555")
    if with_answer:
        corner = canvas.panel(OUTPUT.width - 0.05, top - 0.04, 0.01, 0.2)
        corner.axis("off")
        panels.draw_answer(corner, run, 0.9, ha="right", size=9)
    top += 0.12
    for number in shown:
        places = [(0.03 + n % across * (side + _GAP), top + 0.2 + n // across * (tall + 0.58))
                  for n in range(4)]  # fmt: skip
        _draw_stage(canvas, data, number, places, side, tall)
        top += step
    return canvas.figure


def _draw_stage(canvas: panels.Canvas, data: attention_maps.StageAttention, number: int,
                places: list[tuple[float, float]], side: float, tall: float) -> None:  # fmt: skip
    run, seen = data.run, data.run.stages[number]
    row = attention_maps.stage_table(data).iloc[number]
    canvas.text(0.03, places[0][1] - 0.12,
                f"after layer {seen.layer}" if seen.layer >= 0 else "before layer 0",
                size=8.5, weight="bold")  # fmt: skip
    lost = attention_maps.lost_patches(data, number)
    titles = (
        f"before: {row['tokens before']:.0f} tokens",
        f"layer {seen.attention_layer}: {row['on the image']:.0f} % on the picture",
        f"after: {row['tokens after']:.0f} tokens",
        "lost of the target" if run.target else "dropped, most attended",
    )
    notes = ["", "", f"{row['kept']:.0f} patches + {row['merged tokens']:.0f} merged",
             f"{len(lost)} of {row['dropped here']:.0f} dropped here"]  # fmt: skip
    if run.target:
        left = run.kept_of_target(number)
        notes[0] = f"target: {len(run.target)} patches"
        notes[1] = f"{row['on the target']:.0f} % of this on the target"
        notes[3] = f"{left} kept, {len(run.target) - left - len(lost)} merged, {len(lost)} dropped"
    boxes = []
    for (x, y), title, note in zip(places, titles, notes, strict=True):
        canvas.text(x, y + 0.05, title, size=7)
        boxes.append(canvas.panel(x, y + 0.2, side, tall))
        canvas.text(x, y + tall + 0.23, note, size=6.5, color="#555555")
    panels.draw_stage(boxes[0], run, number - 1 if number else None, width=1.0)
    largest = panels.draw_map(boxes[1], data.values(number), run.grid, KEPT, run.target, run.image)
    x, y = places[1]
    scale = canvas.panel(x, y + tall + 0.37, side, 0.05)
    draw_scale(scale, largest, panels.ramp(KEPT), "per token")
    panels.draw_stage(boxes[2], run, number, width=1.0)
    draw_survivors(boxes[3], run.image, run.grid, lost)
    panels.outline(boxes[3], run.grid, run.target)
    panels.outline(boxes[3], run.grid, lost, panels.WRONG, 1.0)


def draw_layers(data: attention_maps.AttentionData) -> Figure:
    """Attention by layer of the raters, all words, last token: on the target, over its area.

    Where no targets are known: of all attention the share that goes to the image.
    """
    use_style()
    figure, axes = plt.subplots(figsize=(OUTPUT.width, 2.3))
    shares = data.mass if len(data.mass) else data.image_mass
    layers = np.arange(shares.shape[1])
    colors = (panels.RATERS, panels.ALL_TEXT, panels.LAST_TOKEN)
    looks = zip(attention_maps.WHO, colors, ("o", "P", "s"), strict=True)
    for column, (who, color, mark) in enumerate(looks):
        mean, low, high = 100 * mean_and_interval(shares[..., column])
        axes.fill_between(layers, low, high, color=color, alpha=0.15, lw=0)
        axes.plot(layers, mean, color=color, marker=mark, label=who)
    label = "share of all attention\nthat goes to the image, %"
    if len(data.mass):
        axes.axhline(100 * data.area.mean(), color="#333333", lw=0.8, ls=(0, (4, 2)),
                     label="area of the target")  # fmt: skip
        label = "attention to the image\nthat lies on the target, %"
    axes.set(xlabel="layer of the dense model", ylim=(0, 100))
    axes.set_xticks(layers[:: 1 + len(layers) // 12])
    axes.set_ylabel(label)
    axes.grid(axis="y")
    axes.legend(loc="best")
    return figure
