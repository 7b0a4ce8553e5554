"""The Table 1 of the first preprint (October 2024), under its own name.

Its SparseVLM is another program: at four stages it keeps as many tokens as the rank of the scores
says, scaled, so that the budget is a setting and not what is left; the column tokens out says how
many tokens that is here. Two of its eight benchmarks, VQAv2 and ConBench, have no counterpart.
"""

from __future__ import annotations

from dataclasses import replace

from matplotlib.figure import Figure

from sparsevlm.analysis import drawing, published, tables
from sparsevlm.analysis.report import Report, Section, measured
from sparsevlm.analysis.study import Results
from sparsevlm.analysis.words import label
from sparsevlm.paper.tables.table_1 import RELATIVE_MEASURE, ranking

OURS = "sparsevlm-v1.0"
PAPER = {
    (OURS if method == "sparsevlm" else method, tokens): row
    for (method, tokens), row in published.by_setting("table1", version="v1").items()
}
PAPER_TITLE = "LLaVA-1.5-7B, as published in the first preprint (arXiv 2410.04417v1, Table 1)"
WITHOUT_COUNTERPART = ("VQAv2", "ConBench")


def page(results: Results) -> list[Section]:
    """Return what is measured, what is published, and the preprint's orderings."""
    ranked = ranking(results, "Does the ranking of the preprint hold?")
    published_table = tables.as_text(tables.published(results, WITHOUT_COUNTERPART))
    settings = (
        "The comparison is one of settings, not of equal numbers of tokens: tokens out, above, "
        f"says how many {label(OURS)} leaves at each."
    )
    return [
        measured(results),
        Section(PAPER_TITLE, published_table),
        replace(ranked, sentences=[settings]),
    ]


def figure(results: Results) -> Figure:
    """Return accuracy against the tokens that are really left, and the preprint's against budget.

    Only so do methods compare that do not leave the same number at one setting.
    """
    fig, ((left, right),) = drawing.panels(1, 2, 3.0, sharey=True)
    budgets, methods = sorted(results.profile.budgets), results.profile.methods
    counts = drawing.draw_relative(left, results, methods, kind="tokens out")
    for method in methods:
        known = [results.paper[method, budget][RELATIVE_MEASURE] for budget in budgets]
        right.plot(budgets, known, **drawing.line_style(method))
    left.set_title(drawing.measured_title(results.profile))
    right.set_title("published: LLaVA-1.5-7B\nTable 1 of the first preprint")
    for axes in (left, right):
        drawing.level_line(axes, 100, "Dense")
    drawing.tokens_axis(left, counts, "visual tokens really left (mean over layers)")
    drawing.tokens_axis(right, budgets, "visual tokens as the preprint states them")
    drawing.y_label((left, right), drawing.RELATIVE)
    drawing.legend_above(fig, [left], 4)
    return fig


REPORT = Report("table_1_v1", page, figure, paper=PAPER, ours=OURS)
measure = REPORT.measure
