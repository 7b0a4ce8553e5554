"""Parts of figures that show a study: points with intervals, in the colors of the methods."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter

from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import DENSE_SETTING, Results
from sparsevlm.analysis.style import METHOD_STYLE, OUTPUT, use_style
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.profiles import Profile

OURS_IN_FRONT, OTHERS = 3, 2
ROUND_TOKENS = (4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 576, 1024, 2048)
RELATIVE = "accuracy relative to dense (%)"


def panels(rows: int, columns: int, height: float, **options: object) -> tuple[Figure, np.ndarray]:
    """Return a figure as wide as `OUTPUT` says, and its axes [rows, columns].

    In one column of a paper a single row becomes a stack of panels, two abreast from the third on,
    and several rows stand side by side. The height is in inches, for two columns.
    """
    use_style()
    if OUTPUT.columns == 2:
        return plt.subplots(
            rows, columns, figsize=(OUTPUT.width, height), squeeze=False, **options
        )  # fmt: skip
    across = rows if rows > 1 else min(2, (columns + 1) // 2)
    down = -(-rows * columns // across)
    size = OUTPUT.width, 0.3 + 0.85 * down * height / rows
    fig, grid = plt.subplots(down, across, figsize=size, squeeze=False, **options)
    if rows > 1:
        return fig, grid.T
    for number, axes in enumerate(grid.flat):
        axes.tick_params(labelbottom=True)
        if number >= columns:
            axes.remove()
    return fig, grid.reshape(1, -1)[:, :columns]


def y_label(row: Sequence[Axes], text: str) -> None:
    """Name the y axis of panels that share one, wherever none of them stands to the left."""
    named = set()
    for axes in row:
        if (place := axes.get_subplotspec().rowspan.start) not in named:
            axes.set_ylabel(text)
            named.add(place)


def say_empty(axes: Axes, why: str) -> None:
    """Say in a panel without data why there is none."""
    width = axes.get_position().width * axes.figure.get_figwidth()
    text = textwrap.fill(why, max(12, int(width / 0.065)))
    axes.text(0.5, 0.5, text, ha="center", va="center", size=6.5, color="#666666",
              transform=axes.transAxes)  # fmt: skip


def why_no_percent(results: Results, benchmarks: Sequence[str] = ()) -> str:
    """Return why there is no percent of the dense score, or "" where there is.

    Over some benchmarks, by default over all of them.
    """
    zero = [
        BENCHMARKS[name].label for name in benchmarks or results.profile.benchmarks
        if not results.value("score", DENSE_SETTING, name)
    ]  # fmt: skip
    return f"no relative accuracy: the dense model scores 0 on {', '.join(zero)}" if zero else ""


def draw_relative(
    axes: Axes, results: Results, methods: Sequence[str], step: float = 0.012, kind: str = ""
) -> list[float]:
    """Draw relative accuracy, or say why there is none; see `draw_methods`.

    `kind` is the measure on the x axis, by default the budget. Returns all places on it.
    """
    if why := why_no_percent(results):
        say_empty(axes, why)
    return draw_methods(
        axes, methods, sorted(results.profile.budgets),
        lambda m, b: results.get("relative accuracy", (m, b)),
        lambda m, b: results.value(kind, (m, b)) if kind else b, step,
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
    """Draw the line of a method with the intervals of its points, at places on the x axis.

    `how` is passed on to `errorbar`, over the method's style.
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

    There is one point per budget; the step between two methods is a share of its place on the x
    axis. Returns all places.
    """
    drawn = []
    for method, shift in zip(methods, spread(len(methods), step), strict=True):
        at = [place(method, tokens) * (1 + shift) for tokens in budgets]
        draw_estimates(axes, at, [estimate(method, tokens) for tokens in budgets], method)
        drawn += at
    return drawn


def draw_published(axes: Axes, points: Mapping[float, float], label: str = "") -> None:
    """Draw numbers of the paper's SparseVLM by their place on the x axis: hollow, dashed."""
    look = line_style("sparsevlm") | {"label": label or None}
    if points:
        axes.plot(points.keys(), points.values(), linestyle="--", markerfacecolor="white", **look)


def spread(count: int, step: float) -> list[float]:
    """Return offsets around zero that keep the intervals of several methods apart."""
    return [step * (place - (count - 1) / 2) for place in range(count)]


def level_line(axes: Axes, value: float, label: str = "") -> None:
    """Draw a dotted line across: the dense model, or no difference."""
    axes.axhline(value, color="black", linewidth=0.8, linestyle=":", zorder=1, label=label or None)


def legend_above(fig: Figure, panels: Sequence[Axes], columns: int, title: str = "") -> None:
    """Put one legend of all panels above the figure, in at most so many columns as fit."""
    entries: dict[str, object] = {}
    for axes in panels:
        entries |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    title = title.replace("\n", ", ") if OUTPUT.columns == 2 else title
    how = {"title": title, "title_fontsize": 7} if title else {}
    for ncols in range(columns, 0, -1):
        legend = fig.legend(
            entries.values(), entries.keys(), loc="outside upper center", ncols=ncols, **how
        )
        if ncols == 1 or legend.get_window_extent().width <= fig.bbox.width:
            return
        legend.remove()


def tokens_axis(axes: Axes, values: Sequence[float], name: str) -> None:
    """Make the x axis one of numbers of visual tokens, doubled from tick to tick.

    The ticks are round numbers that lie among the values that are drawn.
    """
    low, high = 0.9 * min(values), 1.12 * max(values)
    ticks = [tick for tick in ROUND_TOKENS if low <= tick <= high]
    if len(ticks) < 4:
        ticks = [tick for tick in range(32, 2049, 32) if low <= tick <= high]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(low, high)
    axes.set_xlabel(name)
    axes.grid(axis="y")


def apart(axes: Axes, values: Sequence[int]) -> list[int]:
    """Return those of rising values whose labels have room beside each other on a log axis."""
    inches = axes.get_position().width * axes.figure.get_figwidth()
    label = 0.05 * len(str(max(values))) + 0.02
    least = (1.3 * max(values) / min(values)) ** (label / inches)
    chosen = list(values[:1])
    for value in values[1:]:
        if value == values[-1]:
            chosen = [one for one in chosen if value >= least * one]
        if not chosen or value >= least * chosen[-1]:
            chosen.append(value)
    return chosen


def budget_axis(axes: Axes, budgets: Sequence[int],
                name: str = "visual tokens kept (mean over layers)") -> None:  # fmt: skip
    """Make the x axis one of budgets: doubled from tick to tick, named as the paper counts."""
    tokens_axis(axes, budgets, name)
    ticks = apart(axes, sorted(budgets))
    axes.set_xticks(ticks, [str(tick) for tick in ticks])


def measured_title(profile: Profile) -> str:
    """Return the title of a panel with measured numbers; it names the model and its marker."""
    return f"measured: {profile.model}\n{profile.marker}".strip()


def log_y_axis(axes: Axes) -> None:
    """Make the y axis logarithmic, its labels no formulas: none is parsed in these figures."""
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "10" + f"{np.log10(value):.0f}".translate(raised))
    )
    axes.yaxis.set_minor_formatter(LogFormatter())
