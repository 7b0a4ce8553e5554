"""Figure 4 drawn: a column per benchmark, measured above, the paper's points below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsevlm.analysis.study import DENSE_SETTING, Results
from sparsevlm.analysis.study_drawing import (
    budget_axis,
    draw_estimates,
    line_style,
    measured_title,
    spread,
)
from sparsevlm.analysis.style import figure_size, use_style
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.plan import DENSE
from sparsevlm.paper.figures.figure_4 import PAPER_MODEL, published_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_APART = 0.035  # of a budget, between the intervals of two methods


def figure(results: Results) -> Figure:
    """Return the figure of a study; needs no model."""
    import matplotlib.pyplot as plt

    use_style()
    names = results.profile.benchmarks
    fig, (here, paper) = plt.subplots(
        2, len(names), figsize=figure_size(2, 4.3), sharex=True, squeeze=False
    )
    for place, (name, above, below) in enumerate(zip(names, here, paper, strict=True)):
        _draw_measured(above, results, name)
        _draw_published(below, results, name)
        above.set_title(BENCHMARKS[name].label)
        above.set_xlabel("")
        if place != len(names) // 2:
            below.set_xlabel("")  # it is wider than a panel
    unit = BENCHMARKS[names[0]].unit
    here[0].set_ylabel(f"{measured_title(results.profile)}\nscore ({unit})")
    paper[0].set_ylabel(f"published: {PAPER_MODEL}\nread off the figure\nscore ({unit})")
    handles, labels = here[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return fig


def _draw_measured(axes: Axes, results: Results, name: str) -> None:
    budgets = sorted(results.profile.budgets)
    methods = results.profile.methods
    for method, offset in zip(methods, spread(len(methods), _APART), strict=True):
        estimates = [results.score((method, budget), name) for budget in budgets]
        draw_estimates(axes, [b * (1 + offset) for b in budgets], estimates, method)
    _draw_dense(axes, results.score(DENSE_SETTING, name).value)
    budget_axis(axes, budgets)


def _draw_published(axes: Axes, results: Results, name: str) -> None:
    for method in results.profile.methods:
        if points := published_points(method, name):
            axes.plot(sorted(points), [points[b] for b in sorted(points)], **line_style(method))
    (dense,) = published_points(DENSE, name).values()
    _draw_dense(axes, dense)
    budget_axis(axes, sorted(results.profile.budgets))


def _draw_dense(axes: Axes, score: float) -> None:
    axes.axhline(score, color="black", linewidth=0.8, linestyle=":", zorder=1, label="Dense")
