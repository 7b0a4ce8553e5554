"""Table 2: three benchmarks on images of any size, beside the paper's numbers for Qwen2-VL."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean

import pandas as pd
from matplotlib.figure import Figure

from sparsevlm.analysis import drawing, published, tables
from sparsevlm.analysis.report import Report, Section, comparison, notes, title
from sparsevlm.analysis.study import DENSE_SETTING, OURS, Results
from sparsevlm.analysis.words import label
from sparsevlm.benchmarks import BENCHMARKS

PAPER_MODEL = "Qwen2-VL-7B"
PAPER = published.by_setting("table2")
PAPER_TITLE = f"{PAPER_MODEL}, as published ({tables.PAPER}, Table 2)"
SUFFIX = "_mean_visual_tokens"


def numbers(results: Results) -> pd.DataFrame:
    """Return the measured table, numbers unrounded: rows by (budget, method), dense first."""
    return tables.numbers(results, tables.score_columns(results))


def mean_visual(results: Results) -> dict[str, tuple[float, int, int]]:
    """Return mean, smallest and largest number of visual tokens of an image, by benchmark.

    They are the tokens that enter the first layer of the dense model, one count per sample.
    """
    found = {}
    for name in results.profile.benchmarks:
        rows = results.records[(*DENSE_SETTING, name)].predictions
        counts = [row["tokens_in"][0] for row in rows]
        found[name] = (fmean(counts), min(counts), max(counts))
    return found


def published_retained(budget: int) -> float:
    """Return the paper's mean of the percentages of the dense scores at a budget, recomputed."""
    paper, dense = PAPER[OURS, budget], PAPER[DENSE_SETTING]
    return fmean(100 * paper[c] / dense[c] for c in paper if c != "average")


def published_numbers() -> pd.DataFrame:
    """Return the paper's Table 2, budgets falling, with the percent of dense recomputed."""
    rows = []
    for (_, budget), paper in PAPER.items():
        row = {c: v for c, v in paper.items() if not c.endswith(SUFFIX)}
        row["Avg"] = row.pop("average")
        row["Avg (% of dense, recomputed)"] = published_retained(budget) if budget else 100.0
        rows.append(row)
    return tables.by_setting(rows, list(PAPER))


def visual_tokens(results: Results) -> dict[str, str]:
    """Return the visual tokens per image, "counted" here and in the "paper", for the notes."""
    found = mean_visual(results).items()
    counted = [f"{BENCHMARKS[n].label} {mean:.0f} ({a} to {b})" for n, (mean, a, b) in found]
    dense = PAPER[DENSE_SETTING].items()
    paper = [f"{c.removesuffix(SUFFIX)} {v:.0f}" for c, v in dense if c.endswith(SUFFIX)]
    return {"counted": "; ".join(counted), "paper": ", ".join(paper)}


def claim(results: Results) -> Section:
    """Return what the paper says with what is measured here, then the controls."""
    budgets, methods = sorted(results.profile.budgets, reverse=True), results.profile.methods
    ours, dense = label(OURS), "Dense"
    found = {
        (ours, dense, b): results.difference((OURS, b), DENSE_SETTING) for b in budgets
    }  # fmt: skip
    paper = {
        (ours, dense, b): published_retained(b) - 100 for b in budgets if (OURS, b) in PAPER
    }  # fmt: skip
    for more, fewer in pairwise(budgets):
        lost = results.difference((OURS, more), (OURS, fewer))
        found[ours, f"{ours} at {fewer}", more] = lost
    for rival in (m for m in methods if m != OURS):
        for b in budgets:
            found[ours, label(rival), b] = results.difference((OURS, b), (rival, b))
    return comparison("Does the claim hold?", found, paper)


def page(results: Results) -> list[Section]:
    """Return what is measured, what is published, and the comparison."""
    measured = tables.readable(results, tables.score_columns(results))
    return [
        Section(title(results), measured, notes(results, "table_2", **visual_tokens(results))),
        Section(PAPER_TITLE, tables.as_text(published_numbers())),
        claim(results),
    ]


def figure(results: Results) -> Figure:
    """Return percent of the dense scores by budget: measured left, published right."""
    fig, ((left, right),) = drawing.panels(1, 2, 3.0, sharex=True, sharey=True)
    budgets, methods = sorted(results.profile.budgets), results.profile.methods
    drawing.draw_relative(left, results, methods)
    known = [budget for budget in budgets if (OURS, budget) in PAPER]
    right.plot(known, [published_retained(budget) for budget in known], **drawing.line_style(OURS))
    left.set_title(drawing.measured_title(results.profile))
    right.set_title(f"published: {PAPER_MODEL}\nTable 2 of the paper")
    for axes in (left, right):
        drawing.level_line(axes, 100)
        drawing.budget_axis(axes, budgets)
    drawing.y_label((left, right), drawing.RELATIVE)
    drawing.legend_above(fig, [left], len(methods))
    return fig


REPORT = Report("table_2", page, figure, numbers, paper=PAPER)
measure = REPORT.measure
