"""Drawings of the tour: scores before every stage, density peaks, and the life of every patch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.paper.extras.tour import TourData, peaks
from sparsevlm.paper.figures.figure_6 import stage_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIDE, _STEP = 1.6, 1.7  # of the panels of a row, in inches


def draw_scores(data: TourData) -> Figure:
    """The image, and the scores on it before each stage."""
    from sparsevlm.analysis.panels import RATERS, Canvas, draw_map, draw_stage

    run, canvas = data.run, Canvas(6.75, 2.2)
    axes = canvas.panel(0.03, 0.24, _SIDE, _SIDE)
    draw_stage(axes, run, width=1.0)
    axes.set_title("what is asked for" if run.target else "input", size=7.5, pad=4)
    for number, stage in enumerate(run.breakdowns):
        axes = canvas.panel(0.03 + (number + 1) * _STEP, 0.24, _SIDE, _SIDE)
        draw_map(axes, run.on_grid(number, stage.scores), run.grid, RATERS, run.target)
        axes.set_title(f"scores after layer {stage.layer}", size=7.5, pad=4)
        if run.target:
            share = stage.scores[np.isin(stage.source, run.target)].sum() / stage.scores.sum()
            label = f"{100 * share:.0f} % on the target"
            axes.set_xlabel(label, size=6.5, color="#555555", labelpad=2)
    return canvas.figure


def draw_groups(data: TourData, number: int = 0) -> Figure:
    """Density against distance to a denser token: centers stand out; then the groups in place."""
    from sparsevlm.analysis.panels import Canvas, draw_stage, log_y_axis
    from sparsevlm.analysis.survivors import GROUP_COLORS

    run, frame = data.run, peaks(data, number)
    canvas = Canvas(6.75, 2.75)
    axes = canvas.panel(0.5, 0.25, 3.4, 2.0)
    colors = [GROUP_COLORS[group % len(GROUP_COLORS)] for group in frame["group"]]
    axes.scatter(frame["density"], frame["to a denser one"], s=12, c=colors, lw=0)
    centers = frame[frame["centre"]]
    axes.scatter(centers["density"], centers["to a denser one"], s=46, facecolors="none",
                 edgecolors="#222222", lw=0.9, label="centre of a group")  # fmt: skip
    axes.set(xlabel="density", ylabel="distance to the nearest denser token")
    axes.set_title(f"recycled tokens after layer {run.breakdowns[number].layer}", size=7.5, pad=4)
    log_y_axis(axes)
    axes.legend(loc="upper center")
    axes.grid()
    panel = canvas.panel(4.35, 0.25, 2.3, 2.3)
    groups = [list(part) for _, part in frame.groupby("group")["token"]]
    draw_stage(panel, run, number, groups, width=1.2)
    panel.set_title("the same groups on the picture", size=7.5, pad=4)
    return canvas.figure


def draw_life(data: TourData) -> Figure:
    """Every stage: kept, recycled, dropped; with the counts."""
    from sparsevlm.analysis.panels import Canvas, draw_answer, draw_stage

    run, canvas = data.run, Canvas(6.75, 2.3)
    for number, stage in enumerate((None, *run.sample.stages)):
        axes = canvas.panel(0.03 + number * _STEP, 0.24, _SIDE, _SIDE)
        draw_stage(axes, run, number - 1 if stage else None, width=1.0)
        axes.set_title(stage_title(stage), size=7.5, pad=4)
        if stage is None:
            draw_answer(axes, run)
            continue
        label = f"{len(stage.kept)} patches + {len(stage.groups)} merged tokens"
        if run.target:
            left = run.kept_of_target(number - 1)
            label += f"\n{left} of the {len(run.target)} patches asked for"
        axes.set_xlabel(label, size=6, color="#555555", labelpad=2)
    return canvas.figure
