"""Table 1: eight benchmarks, methods and budgets, beside the paper's own numbers.

Does the paper's ranking of the methods hold here, and is SparseVLM better than methods that ignore
the question?
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from sparsevlm.analysis import drawing, published, tables, words
from sparsevlm.analysis.report import Report, Section, measured
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import Results
from sparsevlm.analysis.words import here, in_words, label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = published.by_setting("table1")
PAPER_TITLE = f"LLaVA-1.5-7B, as published ({tables.PAPER}, Table 1)"
RELATIVE_MEASURE = "relative_accuracy_percent"
# Three that ignore the question, and SparseVLM itself without the selection of raters.
CONTROLS = ("random", "uniform", "pooled", "sparsevlm-all-text")


@dataclass(frozen=True)
class Ordering:
    """Two methods as the paper ranks them at one budget, and what is measured here.

    Attributes
    ----------
    tokens : int
        The budget.
    better, worse : str
        Labels, as the paper ranks them by relative accuracy.
    published : (float, float)
        Their published relative accuracies, in percent.
    measured : Estimate
        Relative accuracy here, the paper's better one minus its worse one, in points.
    """

    tokens: int
    better: str
    worse: str
    published: tuple[float, float]
    measured: Estimate

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        high, low = self.published
        return (
            f"At {self.tokens} tokens the paper puts {self.better} ({high:.1f} %) above "
            f"{self.worse} ({low:.1f} %); {here(self.measured)}: {in_words(self.measured)}."
        )


def orderings(results: Results) -> list[Ordering]:
    """Return every pair of methods that the paper ranks by relative accuracy, budget by budget.

    Intervals are of single comparisons; nothing is corrected for their number.
    """
    found = []
    for tokens in results.profile.budgets:
        ranked = sorted(_published_at(results, tokens).items(), key=lambda pair: -pair[1])
        for (better, high), (worse, low) in combinations(ranked, 2):
            if high > low:
                apart = results.difference((better, tokens), (worse, tokens))
                found.append(Ordering(tokens, label(better), label(worse), (high, low), apart))
    return found


def _published_at(results: Results, tokens: int) -> Mapping[str, float]:
    rows = {method: results.paper.get((method, tokens)) for method in results.profile.methods}
    return {method: row[RELATIVE_MEASURE] for method, row in rows.items() if row}


def agreement(results: Results) -> str:
    """Return how many of the paper's orderings hold here, in one sentence."""
    found = [ordering.measured for ordering in orderings(results)]
    agree, contradict, open_ = words.count_verdicts(found)
    return (
        f"Of the paper's {len(found)} pairwise orderings the measurement reproduces {agree}, "
        f"contradicts {contradict}, and cannot tell {open_}."
    )


def controls(results: Results) -> list[words.ControlComparison]:
    """Return SparseVLM against every control, budget by budget; the paper has no such rows."""
    return words.controls(results, CONTROLS)


def page(results: Results) -> list[Section]:
    """Return what is measured, what is published, and the comparison."""
    published_table = tables.as_text(tables.published(results), {"TFLOPs": 2})
    compared = [*orderings(results), *controls(results)]
    said = [agreement(results), *(one.sentence for one in compared)]
    return [
        measured(results),
        Section(PAPER_TITLE, published_table),
        Section("Does the ranking hold?", sentences=said),
    ]


def figure(results: Results) -> Figure:
    """Return relative accuracy against budget: measured on the left, published on the right."""
    fig, ((left, right),) = drawing.panels(1, 2, 3.0, sharex=True, sharey=True)
    methods, budgets = results.profile.methods, sorted(results.profile.budgets)
    drawing.draw_relative(left, results, methods)
    for method, shift in zip(methods, drawing.spread(len(methods), 0.012), strict=True):
        known = [b for b in budgets if (method, b) in results.paper]
        values = [results.paper[method, b][RELATIVE_MEASURE] for b in known]
        if known:
            right.plot([b * (1 + shift) for b in known], values, **drawing.line_style(method))
    left.set_title(drawing.measured_title(results.profile))
    right.set_title("published: LLaVA-1.5-7B\nTable 1 of the paper")
    for axes in (left, right):
        drawing.level_line(axes, 100, "Dense")
        drawing.budget_axis(axes, budgets)
    drawing.y_label((left, right), drawing.RELATIVE)
    drawing.legend_above(fig, left, -(-(len(methods) + 1) // 2))
    return fig


REPORT = Report("table_1", page, figure, paper=PAPER)
measure = REPORT.measure
