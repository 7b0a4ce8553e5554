"""The programs called SparseVLM on the same samples, under both ways to count tokens.

The paper counts the tokens that a layer leaves; what is computed are those that enter it. A method
can meet the budget by one count and cost more than another by the other. The video release has
settings for videos only; `table_3` measures it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsevlm.analysis import accounting, drawing
from sparsevlm.analysis.report import Report, Section, measured
from sparsevlm.analysis.study import OURS, Results
from sparsevlm.analysis.words import in_words, label, maybe_chance
from sparsevlm.methods import METHODS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ANALYTIC_TITLE = "LLaVA-1.5-7B, by our formulas: tokens and FLOPs of the variants with fixed counts"


def analytic(results: Results) -> Section:
    """Return both counts and the FLOPs on LLaVA-1.5-7B.

    Only of the variants whose counts follow the budget: those that go by the rank have none without
    a question.
    """
    fixed = [m for m in results.profile.methods if m in accounting.FIXED_COUNTS]
    return accounting.section(fixed, results.profile.budgets, ANALYTIC_TITLE)


def sentences(results: Results) -> list[str]:
    """Return every variant against the v1.5 release at the same setting, in words."""
    lines = []
    for tokens in results.profile.budgets:
        own = _counts(results, OURS, tokens)
        for method in (m for m in results.profile.methods if m != OURS):
            left, computed = _counts(results, method, tokens)
            found = results.difference((method, tokens), (OURS, tokens))
            meets = "" if METHODS[method].meets_budget else " (its counts follow the question)"
            lines.append(
                f"At {tokens} tokens {label(method)} minus {label(OURS)} (v1.5): "
                f"{in_words(found)}{maybe_chance(found)}. It leaves {left:.1f} tokens "
                f"and processes {computed:.1f}{meets}; v1.5 leaves {own[0]:.1f} and "
                f"processes {own[1]:.1f}."
            )
    return lines


def _counts(results: Results, method: str, tokens: int) -> tuple[float, ...]:
    return tuple(results.value(kind, (method, tokens)) for kind in ("tokens out", "tokens in"))


def page(results: Results) -> list[Section]:
    """Return the tables and the comparison."""
    return [
        measured(results),
        analytic(results),
        Section("Against the v1.5 release", sentences=sentences(results)),
    ]


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
