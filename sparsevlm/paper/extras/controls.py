"""What text guidance really brings: SparseVLM against methods that ignore the question.

Random tokens, a uniform grid, and the image at a lower resolution do not look at the question; a
method that does not beat them has not shown that its choice of tokens is worth anything. SparseVLM
with all text tokens rating is the fourth control: the same method without the selection of raters.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from sparsevlm.analysis import drawing, statistics, tables, words
from sparsevlm.analysis.report import Report, Section, measured
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import OURS, Results
from sparsevlm.analysis.tables import interval
from sparsevlm.analysis.words import count_signs, label
from sparsevlm.benchmarks import BENCHMARKS

BLIND = ("random", "uniform", "pooled")
ALL_TEXT = "sparsevlm-all-text"
GUIDED = (OURS, ALL_TEXT)


def leads(results: Results, guided: str) -> dict[tuple[int, str], Estimate]:
    """Return a text-guided method minus every blind control, by (budget, control), paired."""
    return {
        (tokens, control): results.difference((guided, tokens), (control, tokens))
        for tokens in results.profile.budgets
        for control in BLIND
    }


def by_benchmark(results: Results) -> pd.DataFrame:
    """Return SparseVLM minus each control on each benchmark, as text with paired intervals."""
    names = results.profile.benchmarks
    rows = {
        (str(tokens), label(control)): [
            interval(results.score_difference(name, (OURS, tokens), (control, tokens)), "+")
            for name in names
        ]
        for tokens in results.profile.budgets
        for control in (*BLIND, ALL_TEXT)
    }
    columns = [BENCHMARKS[name].paper_column for name in names]
    return tables.indexed(rows, ("budget", "minus"), columns)


def by_answer(results: Results, names: Sequence[str]) -> pd.DataFrame:
    """Return SparseVLM against every control that was run, budget by budget, as text.

    Points of relative accuracy, then how many single answers only one of the two has right, over
    the benchmarks that mark them right or wrong, with McNemar's exact p.
    """
    rows = {}
    for tokens in results.profile.budgets:
        for control in (name for name in names if name in results.profile.methods):
            pair = (OURS, tokens), (control, tokens)
            answers = statistics.mcnemar(*words.outcomes(results, *pair))
            counts = (answers.only_first, answers.only_second)
            rows[str(tokens), label(control)] = [
                interval(results.difference(*pair), "+"), *counts, f"{answers.p_value:.2g}",
            ]  # fmt: skip
    columns = ["SparseVLM ahead by", "right with SparseVLM only", "with it only", "McNemar p"]
    return tables.indexed(rows, ("budget", "control"), columns)


def summary(results: Results) -> list[str]:
    """Return what the comparisons say together, and what the controls cost, in words."""
    lines = [
        count_signs(list(leads(results, guided).values()), label(guided), "a blind control")
        for guided in GUIDED
    ]
    tokens = min(results.profile.budgets)
    entering = [
        f"{label(method)} {results.value('tokens in', (method, tokens)):.0f}"
        for method in (OURS, *BLIND)
    ]
    return [
        *lines,
        f"Equal budgets are not equal costs: at {tokens} tokens a layer processes on average "
        f"{', '.join(entering)} visual tokens. The pooled grid is smaller before the first layer, "
        "the others are cut after it.",
    ]


def page(results: Results) -> list[Section]:
    """Return the tables and the comparisons."""
    heading = "SparseVLM minus each control, benchmark by benchmark (points)"
    return [
        Section("What text guidance buys", sentences=summary(results)),
        measured(results),
        Section(heading, by_benchmark(results)),
        Section("Every control, answer by answer", by_answer(results, (*BLIND, ALL_TEXT))),
    ]


def figure(results: Results) -> Figure:
    """Return accuracy against budget, and SparseVLM minus each control with paired intervals."""
    fig, ((left, right),) = drawing.panels(1, 2, 3.0)
    budgets, methods = sorted(results.profile.budgets), (OURS, ALL_TEXT, *BLIND)
    drawing.draw_relative(left, results, methods, 0.018)
    for method, shift in list(zip(methods, drawing.spread(len(methods), 0.018), strict=True))[1:]:
        ahead = [results.get("ahead", (method, b)) for b in budgets]
        drawing.draw_estimates(right, [b * (1 + shift) for b in budgets], ahead, method)
    if why := drawing.why_no_percent(results):
        drawing.say_empty(right, why)
    drawing.level_line(left, 100, "Dense")
    drawing.level_line(right, 0)
    for axes in (left, right):
        drawing.budget_axis(axes, budgets)
    left.set_ylabel(drawing.RELATIVE)
    right.set_ylabel("SparseVLM minus the control (points)")
    right.set_title("below zero: the control is better")
    drawing.legend_above(fig, [left], 6, drawing.measured_title(results.profile))
    return fig


REPORT = Report("controls", page, figure)
measure = REPORT.measure
