"""Table 1 for the eye: its two tables, its page, and accuracy against budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.analysis import study_views
from sparsevlm.analysis.study import Results
from sparsevlm.analysis.study_drawing import (
    budget_axis,
    draw_estimates,
    line_style,
    measured_title,
    spread,
)
from sparsevlm.analysis.study_views import (
    PAPER,
    Section,
    frame,
    markdown,
    notes,
    readable,
    styled,
    title,
)
from sparsevlm.paper.tables.table_1 import published_row
from sparsevlm.paper.tables.table_1_compare import agreement, controls, orderings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = [
    "PAPER_TITLE",
    "figure",
    "frame",
    "markdown",
    "notes",
    "published_frame",
    "readable",
    "readable_published",
    "report",
    "save",
    "sentences",
    "styled",
    "title",
]

PAPER_TITLE = f"LLaVA-1.5-7B, as published ({PAPER}, Table 1)"


def published_frame(results: Results) -> pd.DataFrame:
    """Return the paper's Table 1 in the same rows; empty where the paper has none."""
    return study_views.published_frame(results, published_row)


def readable_published(results: Results) -> pd.DataFrame:
    """Return the paper's table as text."""
    return study_views.readable_published(published_frame(results))


def sentences(results: Results) -> list[str]:
    """Return the agreement with the paper, then every ordering, then the controls, in words."""
    return [
        agreement(results),
        *(ordering.sentence for ordering in orderings(results)),
        *(control.sentence for control in controls(results)),
    ]


def sections(results: Results) -> list[Section]:
    """Return both tables and the comparison."""
    return [
        Section(title(results), readable(results), notes(results)),
        Section(PAPER_TITLE, readable_published(results)),
        Section("Does the ranking hold?", sentences=sentences(results)),
    ]


def report(results: Results) -> str:
    """Return both tables and the comparison as a Markdown page."""
    return study_views.report(sections(results))


def save(results: Results, folder: str | Path = "figures") -> list[Path]:
    """Write table_1.md, table_1.csv and table_1.html, each whole or not at all.

    Parameters
    ----------
    results : Results
        What to write.
    folder : str or path
        Relative to the repository; a profile other than the miniature gets a folder of its own.
    """
    numbers = frame(results)
    numbers.insert(0, "model", title(results))
    return study_views.save("table_1", results.profile, numbers, sections(results), folder)


def figure(results: Results) -> Figure:
    """Return relative accuracy against budget: measured on the left, published on the right."""
    import matplotlib.pyplot as plt

    from sparsevlm.analysis.style import figure_size, use_style

    use_style()
    fig, (here, paper) = plt.subplots(1, 2, figsize=figure_size(2, 3.0), sharex=True, sharey=True)
    methods, budgets = results.profile.methods, sorted(results.profile.budgets)
    for method, shift in zip(methods, spread(len(methods), 0.012), strict=True):
        at = [b * (1 + shift) for b in budgets]  # or the whiskers hide each other
        draw_estimates(here, at, [results.row((method, b)).relative for b in budgets], method)
        known = [(x, published_row(method, b)) for x, b in zip(at, budgets, strict=True)]
        known = [(x, row["relative_accuracy_percent"]) for x, row in known if row]
        if known:
            paper.plot(*zip(*known, strict=True), **line_style(method))
    here.set_title(measured_title(results.profile))
    paper.set_title("published: LLaVA-1.5-7B\nTable 1 of the paper")
    for axes in (here, paper):
        axes.axhline(100, color="black", linewidth=0.8, linestyle=":", zorder=1, label="Dense")
        budget_axis(axes, budgets)
    here.set_ylabel("accuracy relative to dense (%)")
    entries = here.get_legend_handles_labels()
    fig.legend(*entries, loc="outside upper center", ncols=-(-len(entries[1]) // 2))
    return fig
