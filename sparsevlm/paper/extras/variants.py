"""The programs called SparseVLM on the same samples, under both ways to count tokens.

The paper counts the tokens that a layer leaves; what is computed are those that enter it. A method
can meet the budget by one count and cost more than another by the other. The video release has
settings for videos only; `table_3` measures it.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from sparsevlm.analysis import accounting, drawing, study
from sparsevlm.analysis.report import Report, Section, comparison, measured
from sparsevlm.analysis.study import OURS, Results
from sparsevlm.analysis.words import label
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.methods import METHODS

ANALYTIC_TITLE = "LLaVA-1.5-7B, by our formulas: tokens and FLOPs of the variants with fixed counts"


def analytic(results: Results) -> Section:
    """Return both counts and the FLOPs on LLaVA-1.5-7B.

    Only of the variants whose counts follow the budget: those that go by the rank have none without
    a question.
    """
    fixed = [m for m in results.profile.methods if m in accounting.FIXED_COUNTS]
    return accounting.section(fixed, results.profile.budgets, ANALYTIC_TITLE)


def compared(results: Results) -> Section:
    """Return every variant against the v1.5 release at the same setting."""
    others = [m for m in results.profile.methods if m != OURS]
    found = {
        (label(method), f"{label(OURS)} (v1.5)", b): results.difference((method, b), (OURS, b))
        for method in others for b in results.profile.budgets
    }  # fmt: skip
    odd = [label(method) for method in others if not METHODS[method].meets_budget]
    text = f"The counts of {', '.join(odd)} follow the question, and not the budget." if odd else ""
    return comparison("Against the v1.5 release", found, text=text)


def positions(profile: Profile) -> Section:
    """Return SparseVLM with kept positions against renumbered ones, on the same questions."""
    found = study.measure(profile, "positions")
    kept = "sparsevlm-kept-positions"
    differences = {
        (label(kept), f"{label(OURS)} (renumbered)", b): found.difference((kept, b), (OURS, b))
        for b in found.profile.budgets
    }
    return comparison("Positions kept against renumbered", differences)


def page(results: Results) -> list[Section]:
    """Return the tables and the comparison."""
    return [measured(results), analytic(results), compared(results)]


def figure(results: Results) -> Figure:
    """Return accuracy against the tokens left, and against the tokens processed."""
    fig, (row,) = drawing.panels(1, 2, 3.0, sharey=True)
    names = {
        "tokens out": "visual tokens left by a layer (the paper's budget)",
        "tokens in": "visual tokens entering a layer (what is computed)",
    }
    for axes, (kind, name) in zip(row, names.items(), strict=True):
        drawn = drawing.draw_relative(axes, results, results.profile.methods, kind=kind)
        drawing.level_line(axes, 100, "Dense")
        drawing.tokens_axis(axes, drawn, name)
    drawing.y_label(row, drawing.RELATIVE)
    drawing.legend_above(fig, [row[0]], 5, drawing.measured_title(results.profile))
    return fig


REPORT = Report("variants", page, figure)
measure = REPORT.measure
