"""Table 1: eight benchmarks, methods and budgets, beside the paper's own numbers.

Does the paper's ranking of the methods hold here, and is SparseVLM better than methods that ignore
the question?
"""

from __future__ import annotations

from itertools import combinations

from matplotlib.figure import Figure

from sparsevlm.analysis import drawing, published, tables, words
from sparsevlm.analysis.report import Report, Section, measured
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import OURS, Results
from sparsevlm.analysis.words import label
from sparsevlm.paper.extras.efficiency import first_tokens

PAPER = published.by_setting("table1")
PAPER_TITLE = f"LLaVA-1.5-7B, as published ({tables.PAPER}, Table 1)"
RELATIVE_MEASURE = "relative_accuracy_percent"
# Three that ignore the question, and SparseVLM itself without the selection of raters.
CONTROLS = ("random", "uniform", "pooled", "sparsevlm-all-text")


def orderings(results: Results) -> dict[tuple[str, str, int], Estimate]:
    """Return every pair of methods that the paper ranks by relative accuracy, budget by budget.

    Returns
    -------
    dict by (better, worse, tokens) of Estimate
        Labels as the paper ranks them; relative accuracy here, better minus worse, in points.
        Intervals are of single comparisons; nothing is corrected for their number.
    """
    found = {}
    for tokens in results.profile.budgets:
        rows = {method: results.paper.get((method, tokens)) for method in results.profile.methods}
        known = {method: row[RELATIVE_MEASURE] for method, row in rows.items() if row}
        ranked = sorted(known.items(), key=lambda pair: -pair[1])
        for (better, high), (worse, low) in combinations(ranked, 2):
            if high > low:
                apart = results.difference((better, tokens), (worse, tokens))
                found[label(better), label(worse), tokens] = apart
    return found


def ranking(results: Results, heading: str = "Does the ranking hold?") -> Section:
    """Return for every ordering of the paper whether it holds here, and how many of them do.

    Then SparseVLM against the controls, of which the paper has no rows.
    """
    found = orderings(results)
    agree, contradict, open_ = words.count_verdicts(list(found.values()))
    cells = {key: words.cell(apart) for key, apart in found.items()}
    for control in (name for name in CONTROLS if name in results.profile.methods):
        for tokens in results.profile.budgets:
            apart = results.difference((OURS, tokens), (control, tokens))
            key = (label(OURS), f"{label(control)} (control)", tokens)
            cells[key] = words.cell(apart, ("ahead", "behind"))
    return Section(
        heading,
        tables.grid(cells, ("above, in the paper", "below"), results.profile.budgets),
        f"Of the paper's {len(found)} pairwise orderings the measurement reproduces {agree}, "
        f"contradicts {contradict}, and cannot tell {open_}. Numbers are points of relative "
        "accuracy, first minus second; it is told where the paired 95 % interval excludes zero. "
        "The paper has no controls.",
    )


def page(results: Results) -> list[Section]:
    """Return what is measured, what is published, and the comparison."""
    published_table = tables.as_text(tables.published(results), {"TFLOPs": 2})
    sections = [measured(results), Section(PAPER_TITLE, published_table), ranking(results)]
    latency = first_tokens("llava-1.5-7b")
    if not latency.empty:
        sections.append(Section(
            "Time to the first token, LLaVA-1.5-7B at full size with random weights",
            tables.as_text(latency, {"ms": 1, "/ dense": 2, "paper ms": 1, "paper / dense": 2}),
            "One prompt at a time, pixels to first token; the paper's latency is that of an A100.",
        ))  # fmt: skip
    return sections


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
    drawing.legend_above(fig, [left], -(-(len(methods) + 1) // 2))
    return fig


REPORT = Report("table_1", page, figure, paper=PAPER)
measure = REPORT.measure
