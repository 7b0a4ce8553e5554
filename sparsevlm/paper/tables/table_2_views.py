"""Table 2 for the eye: data frames, sentences, Markdown, CSV and HTML, and a figure."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.analysis import study_views
from sparsevlm.analysis.study_drawing import draw_estimates, line_style, measured_title, spread
from sparsevlm.analysis.study_views import PAPER, Section, made_at, title
from sparsevlm.analysis.study_words import in_words, label, maybe_chance
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.plan import DENSE
from sparsevlm.paper.tables import table_3_views
from sparsevlm.paper.tables.table_2 import (
    OURS,
    PAPER_MODEL,
    Results,
    average,
    mean_visual,
    published_retained,
    published_rows,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PAPER_TITLE = f"{PAPER_MODEL}, as published ({PAPER}, Table 2)"
SUFFIX = "_mean_visual_tokens"


def frame(results: Results) -> pd.DataFrame:
    """Return the measured table, numbers unrounded: `table_3_views.frame` with the plain average.

    Returns
    -------
    DataFrame
        Rows by (budget, method), the dense model first.
    """
    table = table_3_views.frame(results)
    table.insert(0, "Avg", [average(row) for row in results.rows])
    return table


def readable(results: Results) -> pd.DataFrame:
    """Return the measured table as text: rounded, every interval beside its number."""
    shown = table_3_views.readable(results)
    shown.insert(0, "Avg", [f"{average(row):.1f}" for row in results.rows])
    return shown


def published_frame() -> pd.DataFrame:
    """Return the paper's Table 2, budgets falling, with the percent of dense recomputed."""
    import pandas as pd

    paper = published_rows()
    budgets = [None, *sorted((b for b in paper if b), reverse=True)]
    lines = []
    for budget in budgets:
        runs = {c: v for c, v in paper[budget].items() if not c.endswith(SUFFIX)}
        runs["Avg"] = runs.pop("average")
        runs["Avg (% of dense, recomputed)"] = published_retained(budget) if budget else 100.0
        lines.append(runs)
    names = [("all" if b is None else str(b), "SparseVLM" if b else "Dense") for b in budgets]
    return pd.DataFrame(lines, index=pd.MultiIndex.from_tuples(names, names=["budget", "method"]))


def readable_published() -> pd.DataFrame:
    """Return the paper's table as text."""
    return published_frame().map(lambda value: f"{value:.1f}").astype(object)


def tokens_line(results: Results) -> str:
    """Return the visual tokens per picture, here and in the paper, in one line."""
    here = "; ".join(
        f"{BENCHMARKS[name].label} {mean:.0f} ({low} to {high})"
        for name, (mean, low, high) in mean_visual(results).items()
    )
    paper = ", ".join(
        f"{c.removesuffix(SUFFIX)} {v:.0f}"
        for c, v in published_rows()[None].items()
        if c.endswith(SUFFIX)
    )
    return (
        f"Visual tokens per picture, mean (least to most): {here}. The paper's means for "
        f"{PAPER_MODEL}: {paper}."
    )


def sentences(results: Results) -> list[str]:
    """Return what the paper says with what is measured here, then the controls, in words."""
    budgets, methods = sorted(results.profile.budgets, reverse=True), results.profile.methods
    known = published_rows()
    lines = []
    for budget in budgets:
        ours = results.difference((OURS, budget), (DENSE, None))
        paper = published_retained(budget) - 100 if budget in known else None
        said = "the paper has no such row" if paper is None else f"in the paper {paper:+.1f}"
        lines.append(f"SparseVLM at {budget} tokens minus dense: {in_words(ours)}; {said}.")
    for more, fewer in pairwise(budgets):
        loss = results.difference((OURS, more), (OURS, fewer))
        lines.append(f"SparseVLM at {more} minus at {fewer} tokens: {in_words(loss)}.")
    for budget in budgets:
        for rival in (m for m in methods if m != OURS):
            measured = results.difference((OURS, budget), (rival, budget))
            lines.append(
                f"At {budget} tokens SparseVLM minus {label(rival)}: {in_words(measured)}"
                f"{maybe_chance(measured)}."
            )
    return lines


def notes(results: Results) -> str:
    """Return how to read the measured table."""
    return (
        "Brackets are 95 % intervals from a paired bootstrap over questions, not corrected for the "
        "number of comparisons; the columns with minus are of the mean score, in points. The paper "
        "names a budget for pictures of any size and no schedule. Here a schedule is made for the "
        "nominal picture and keeps the same number of tokens of every picture (all of them where "
        "there are no more), so the mean over the layers follows the size a little: tokens out is "
        f"what was left. FLOPs are counted by the paper's formula. {tokens_line(results)}"
        f"{made_at(results)}"
    )


def sections(results: Results) -> list[Section]:
    """Return both tables and the comparison."""
    return [
        Section(title(results), readable(results), notes(results)),
        Section(PAPER_TITLE, readable_published()),
        Section("Does the claim hold?", sentences=sentences(results)),
    ]


def save(results: Results, folder: str | Path = "figures") -> list[Path]:
    """Write table_2.md, .csv and .html; arguments as of `study_views.save`."""
    numbers = frame(results)
    numbers.insert(0, "model", title(results))
    return study_views.save("table_2", results.profile, numbers, sections(results), folder)


def figure(results: Results) -> Figure:
    """Return percent of the dense scores by budget: measured left, published right."""
    import matplotlib.pyplot as plt

    from sparsevlm.analysis.style import figure_size, use_style

    use_style()
    fig, (here, paper) = plt.subplots(1, 2, figsize=figure_size(2, 3.0), sharex=True, sharey=True)
    budgets = sorted(results.profile.budgets)
    methods = results.profile.methods
    for method, shift in zip(methods, spread(len(methods), 6), strict=True):
        shown = [results.row((method, budget)).relative for budget in budgets]
        draw_estimates(here, [budget + shift for budget in budgets], shown, method)
    known = [budget for budget in budgets if budget in published_rows()]
    paper.plot(known, [published_retained(budget) for budget in known], **line_style(OURS))
    here.set_title(measured_title(results.profile))
    paper.set_title(f"published: {PAPER_MODEL}\nTable 2 of the paper")
    for axes in (here, paper):
        axes.axhline(100, color="black", linewidth=0.8, linestyle=":", zorder=1)
        axes.set_xticks(budgets, [str(b) for b in budgets])
        axes.set_xlabel("visual tokens kept (mean over layers)")
        axes.grid(axis="y")
    here.set_ylabel("accuracy relative to dense (%)")
    fig.legend(*here.get_legend_handles_labels(), loc="outside upper center", ncols=len(methods))
    return fig
