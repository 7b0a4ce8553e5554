"""Parts of figures that show a study: points with intervals, in the colors of the methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.style import METHOD_STYLE, figure_size, use_style
from sparsevlm.evaluation.profiles import Profile

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS_IN_FRONT, OTHERS = 3, 2
ROUND_TOKENS = (4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 576, 1024, 2048)
RELATIVE = "accuracy relative to dense (%)"


def panels(rows: int, columns: int, height: float, **options: object) -> tuple[Figure, np.ndarray]:
    """Return a figure two columns wide and its axes [rows, columns]; options as of `subplots`."""
    import matplotlib.pyplot as plt

    use_style()
    return plt.subplots(
        rows, columns, figsize=figure_size(2, height), squeeze=False, **options
    )  # fmt: skip


def line_style(method: str) -> dict:
    """Return color, marker, label and depth of a method, as matplotlib's `plot` takes them."""
    style = METHOD_STYLE[method]
    front = OURS_IN_FRONT if method == "sparsevlm" else OTHERS
    return {"color": style.color, "marker": style.marker, "label": style.label, "zorder": front}


def error_bars(estimates: Sequence[Estimate]) -> list[list[float]]:
    """Return the distances down and up to the ends of the intervals, as `errorbar` takes them."""
    return [[e.value - e.low for e in estimates], [e.high - e.value for e in estimates]]


def draw_estimates(
    axes: Axes, at: Sequence[float], estimates: Sequence[Estimate], method: str, **how: object
) -> None:
    """Draw the line of a method with the intervals of its points.

    Parameters
    ----------
    axes : Axes
    at : sequence of float
        Places on the x axis.
    estimates : sequence of Estimate
    method : str
        Decides color and marker.
    **how
        Passed on to `errorbar`, over the method's style.
    """
    values = [e.value for e in estimates]
    look = {"elinewidth": 0.7, "capsize": 1.5, **line_style(method), **how}
    axes.errorbar(at, values, error_bars(estimates), **look)


def draw_methods(
    axes: Axes,
    methods: Sequence[str],
    budgets: Sequence[int],
    estimate: Callable[[str, int], Estimate],
    place: Callable[[str, int], float] = lambda method, tokens: tokens,
    step: float = 0.012,
) -> list[float]:
    """Draw a line with intervals per method, a little apart so that none hides another.

    Parameters
    ----------
    axes : Axes
    methods, budgets
        One line per method, one point per budget.
    estimate : (method, budget) -> Estimate
        The points.
    place : (method, budget) -> float
        Their places on the x axis.
    step : float
        Distance between two methods, as a share of the place.

    Returns
    -------
    list of float
        All places.
    """
    drawn = []
    for method, shift in zip(methods, spread(len(methods), step), strict=True):
        at = [place(method, tokens) * (1 + shift) for tokens in budgets]
        draw_estimates(axes, at, [estimate(method, tokens) for tokens in budgets], method)
        drawn += at
    return drawn


def spread(count: int, step: float) -> list[float]:
    """Return offsets around zero that keep the intervals of several methods apart."""
    return [step * (place - (count - 1) / 2) for place in range(count)]


def level_line(axes: Axes, value: float, label: str = "") -> None:
    """Draw a dotted line across: the dense model, or no difference."""
    axes.axhline(value, color="black", linewidth=0.8, linestyle=":", zorder=1, label=label or None)


def legend_above(fig: Figure, axes: Axes, columns: int, title: str = "") -> None:
    """Put the legend of one panel above the figure."""
    handles, labels = axes.get_legend_handles_labels()
    how = {"title": title.replace("\n", ", "), "title_fontsize": 7} if title else {}
    fig.legend(handles, labels, loc="outside upper center", ncols=columns, **how)


def tokens_axis(axes: Axes, values: Sequence[float], name: str) -> None:
    """Make the x axis one of numbers of visual tokens, doubled from tick to tick.

    Parameters
    ----------
    axes : Axes
    values : sequence of float
        What is drawn; the ticks are round numbers that lie among them.
    name : str
        Of the axis.
    """
    low, high = 0.9 * min(values), 1.1 * max(values)
    ticks = [tick for tick in ROUND_TOKENS if low <= tick <= high]
    if len(ticks) < 4:
        ticks = [tick for tick in range(32, 2049, 32) if low <= tick <= high]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(name)
    axes.grid(axis="y")


def budget_axis(axes: Axes, budgets: Sequence[int]) -> None:
    """Make the x axis one of budgets: doubled from tick to tick, named as the paper counts."""
    tokens_axis(axes, budgets, "visual tokens kept (mean over layers)")
    axes.set_xticks(budgets, [str(b) for b in budgets])


def measured_title(profile: Profile) -> str:
    """Return the title of a panel with measured numbers; it names the model and its marker."""
    return f"measured: {profile.model}\n{profile.marker}".strip()
