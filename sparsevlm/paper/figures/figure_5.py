"""Figure 5: who rates? All tokens, all text tokens, or the selected raters, at 64 tokens."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsevlm.analysis import drawing, published, report, tables
from sparsevlm.analysis.report import Report, Section, comparison
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import DENSE_SETTING, Results
from sparsevlm.analysis.style import METHOD_STYLE
from sparsevlm.analysis.tables import NONE, ends, interval, number
from sparsevlm.analysis.words import label
from sparsevlm.benchmarks import BENCHMARKS

RATERS = "sparsevlm"
# In the paper's order of bars.
NAMES = {"sparsevlm-all-tokens": "all tokens", "sparsevlm-all-text": "all text", RATERS: "raters"}
PAPER = published.by_setting("figure5")


def budget(results: Results) -> int:
    """Return the one budget of the figure."""
    (tokens,) = results.profile.budgets
    return tokens


def published_score(method: str, benchmark: str, tokens: int) -> float:
    """Return the height of a bar of the paper's figure."""
    return PAPER[method, tokens][BENCHMARKS[benchmark].paper_column]


def lead(results: Results, benchmark: str, method: str) -> Estimate | None:
    """Return the score with raters minus that with others rating, in points, paired."""
    if method == RATERS:
        return None
    tokens = budget(results)
    return results.score_difference(benchmark, (RATERS, tokens), (method, tokens))


def numbers(results: Results) -> pd.DataFrame:
    """Return what is drawn: one row per benchmark and bar, numbers unrounded.

    Score, low, high; the lead of the raters with its paired interval; the published score; visual
    tokens in and out.
    """
    tokens = budget(results)
    return pd.DataFrame([
        {
            "benchmark": BENCHMARKS[name].paper_column,
            "who rates": who,
            **ends("score", results.get("score", (method, tokens), name), "score"),
            **ends("raters ahead by", lead(results, name, method), "ahead"),
            "published score": published_score(method, name, tokens),
            "tokens in": results.value("tokens in", (method, tokens)),
            "tokens out": results.value("tokens out", (method, tokens)),
        }
        for name in results.profile.benchmarks for method, who in NAMES.items()
    ])  # fmt: skip


def readable(results: Results) -> pd.DataFrame:
    """Return the same as text, the dense model's scores above."""
    tokens, rows = budget(results), {}
    for name in results.profile.benchmarks:
        column = BENCHMARKS[name].paper_column
        dense = interval(results.get("score", DENSE_SETTING, name))
        rows[column, "dense, nothing pruned"] = [dense, NONE, NONE]
        for method, who in NAMES.items():
            ahead = lead(results, name, method)
            rows[column, who] = [
                interval(results.get("score", (method, tokens), name)),
                interval(ahead, "+") if ahead else NONE,
                number(published_score(method, name, tokens)),
            ]
    columns = ["score here", "raters ahead by", "paper, LLaVA-1.5-7B"]
    return tables.indexed(rows, ("benchmark", "who rates"), columns)


def compared(results: Results) -> Section:
    """Return whether the raters are ahead here as they are in the paper."""
    tokens, found, paper = budget(results), {}, {}
    for name in results.profile.benchmarks:
        for method in (m for m in NAMES if m != RATERS):
            key = NAMES[RATERS], NAMES[method], BENCHMARKS[name].label
            ends = [published_score(one, name, tokens) for one in (RATERS, method)]
            found[key], paper[key] = lead(results, name, method), ends[0] - ends[1]
    return comparison("Are the raters ahead?", found, paper, ("who rates", "minus"))


def page(results: Results) -> list[Section]:
    """Return the table and the comparison."""
    title = f"{report.title(results)}, {label(RATERS)} at {budget(results)} tokens"
    return [Section(title, readable(results)), compared(results)]


def figure(results: Results) -> Figure:
    """Return bars with intervals on the left, the paper's bars on the right."""
    tokens, names = budget(results), results.profile.benchmarks
    fig, ((left, right),) = drawing.panels(1, 2, 2.4, sharey=True)
    for place, method in enumerate(NAMES):
        at = [i + 0.27 * (place - 1) for i in range(len(names))]
        found = [results.get("score", (method, tokens), name) for name in names]
        look = {"elinewidth": 0.8, "capsize": 2}
        heights = [one.value for one in found]
        _bars(left, at, heights, method, yerr=drawing.error_bars(found), error_kw=look)
        _bars(right, at, [published_score(method, name, tokens) for name in names], method)
    for axes in (left, right):
        axes.set_xticks(range(len(names)), [BENCHMARKS[name].label for name in names])
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="y")
        axes.set_ylim(0, 118)
        axes.set_yticks(range(0, 101, 20))
    left.set_title(drawing.measured_title(results.profile))
    right.set_title("published: LLaVA-1.5-7B\nFigure 5 of the paper")
    drawing.y_label((left, right), f"score at {tokens} tokens")
    drawing.legend_above(fig, [left], 3, "who rates the visual tokens")
    return fig


def _bars(axes: Axes, at: list[float], heights: list[float], method: str, **how: object) -> None:
    axes.bar(at, heights, 0.25, color=METHOD_STYLE[method].color, label=NAMES[method], **how)
    above = how["yerr"][1] if how else [0] * len(at)  # clear of bar and interval
    for x, height, more in zip(at, heights, above, strict=True):
        axes.text(x, height + more + 2, f"{height:.1f}", ha="center", va="bottom", size=6)


REPORT = Report("figure_5", page, figure, numbers, paper=PAPER, has_page=False)
measure = REPORT.measure
