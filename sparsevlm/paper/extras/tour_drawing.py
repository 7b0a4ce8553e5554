"""Drawings of the tour: scores before every cut, density peaks, and the life of every patch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.paper.extras.tour import Found, peaks
from sparsevlm.paper.figures.figure_2 import on_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_scores(found: Found) -> Figure:
    """The picture, and the scores on it before each cut."""
    from sparsevlm.analysis.panels import RATERS, Canvas, draw_fates, draw_map, outline

    run = found.run
    side, gap = 1.6, 0.1
    canvas = Canvas(6.75, 2.2)
    for number in range(1 + len(found.stages)):
        axes = canvas.panel(0.03 + number * (side + gap), 0.24, side, side)
        if not number:
            draw_fates(axes, run.image, run.sample.grid)
            outline(axes, run.sample.grid, run.target, "white", 1.0)
            axes.set_title("what is asked for", size=7.5, pad=4)
            continue
        cut = found.stages[number - 1]
        values = on_grid(run, number - 1, cut.scores)
        draw_map(axes, values, run.sample.grid, RATERS, run.target)
        axes.set_title(f"scores after layer {cut.layer}", size=7.5, pad=4)
        share = cut.scores[np.isin(cut.source, run.target)].sum() / cut.scores.sum()
        axes.set_xlabel(f"{100 * share:.0f} % on the target", size=6.5, color="#555555", labelpad=2)
    return canvas.figure


def draw_groups(found: Found, number: int = 0) -> Figure:
    """Density against distance to a denser token: centres stand out; then the groups in place."""
    from sparsevlm.analysis.panels import Canvas, draw_fates, outline
    from sparsevlm.analysis.survivors import GROUP_COLORS

    run, frame = found.run, peaks(found, number)
    canvas = Canvas(6.75, 2.75)
    axes = canvas.panel(0.5, 0.25, 3.4, 2.0)
    colours = [GROUP_COLORS[group % len(GROUP_COLORS)] for group in frame["group"]]
    axes.scatter(frame["density"], frame["to a denser one"], s=12, c=colours, lw=0)
    centres = frame[frame["centre"]]
    axes.scatter(centres["density"], centres["to a denser one"], s=46, facecolors="none",
                 edgecolors="#222222", lw=0.9, label="centre of a group")  # fmt: skip
    axes.set(xlabel="density", ylabel="distance to the nearest denser token")
    axes.set_title(f"recycled tokens after layer {found.stages[number].layer}", size=7.5, pad=4)
    axes.set_yscale("log")
    axes.legend(loc="upper center")
    axes.grid()
    panel = canvas.panel(4.35, 0.25, 2.3, 2.3)
    cut = run.sample.stages[number]
    draw_fates(panel, run.image, run.sample.grid, cut.kept, _groups_of(frame))
    outline(panel, run.sample.grid, run.target, "#111111", 1.2)
    panel.set_title("the same groups on the picture", size=7.5, pad=4)
    return canvas.figure


def _groups_of(frame) -> list[list[int]]:
    """Patches per group; merged tokens of an earlier cut have no single place."""
    return [list(part) for _, part in frame.groupby("group")["token"]]


def draw_life(found: Found) -> Figure:
    """Every stage: kept, recycled, dropped; with the counts."""
    from sparsevlm.analysis.panels import Canvas, draw_answer, draw_fates, outline

    run = found.run
    side, gap = 1.6, 0.1
    canvas = Canvas(6.75, 2.3)
    for number, stage in enumerate((None, *run.sample.stages)):
        axes = canvas.panel(0.03 + number * (side + gap), 0.24, side, side)
        kept, groups = (stage.kept, stage.groups) if stage else (None, ())
        draw_fates(axes, run.image, run.sample.grid, kept, groups)
        outline(axes, run.sample.grid, run.target, "#111111" if stage else "white", 1.0)
        axes.set_title(f"after layer {stage.layer}" if stage else "input", size=7.5, pad=4)
        if stage:
            left = len(set(stage.kept) & set(run.target))
            label = f"{len(stage.kept)} patches + {len(stage.groups)} merged tokens\n"
            label += f"{left} of the {len(run.target)} patches asked for"
            axes.set_xlabel(label, size=6, color="#555555", labelpad=2)
        else:
            draw_answer(axes, run.answer, found.reference, 0, -0.03, transform=axes.transAxes)
    return canvas.figure


DRAWINGS = {"_scores": draw_scores, "_groups": draw_groups, "_life": draw_life}
