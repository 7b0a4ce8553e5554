"""The Table 1 of the first preprint (October 2024), under its own name.

Its SparseVLM is another program: at four cuts it keeps as many tokens as the rank of the scores
says, scaled, so that the budget is a setting and not what is left. This file says how many tokens
that is here. Two of its eight benchmarks, VQAv2 and ConBench, have no counterpart in the suite.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.analysis import study, study_views
from sparsevlm.analysis.study import Results
from sparsevlm.analysis.study_drawing import (
    draw_estimates,
    line_style,
    measured_title,
    spread,
    tokens_axis,
)
from sparsevlm.analysis.study_views import Section, frame, notes, readable, title
from sparsevlm.analysis.study_words import label
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.runs import Record
from sparsevlm.models.sizes import ModelSizes
from sparsevlm.paper.tables import table_1
from sparsevlm.paper.tables.table_1_compare import agreement, orderings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

OURS = "sparsevlm-v1.0"
PAPER_TITLE = "LLaVA-1.5-7B, as published in the first preprint (arXiv 2410.04417v1, Table 1)"
WITHOUT_COUNTERPART = ("VQAv2", "ConBench")


def measure(profile: Profile | str) -> Results:
    """Return the table of a profile from its finished records; errors as of `study.measure`."""
    return study.measure(profile, "table_1_v1", OURS)


def from_records(profile: Profile, records: Iterable[Record], sizes: ModelSizes) -> Results:
    """Return the table from records; arguments and errors as of `study.from_records`."""
    return study.from_records(profile, records, sizes, OURS)


def published_row(method: str, tokens: int | None) -> dict[str, float]:
    """Return the preprint's numbers for a setting; its SparseVLM is our v1.0."""
    return table_1.published_row("sparsevlm" if method == OURS else method, tokens, "v1")


def published_frame(results: Results) -> pd.DataFrame:
    """Return the preprint's table in the same rows, with the two benchmarks that only it has."""
    table = study_views.published_frame(results, published_row)
    for column in WITHOUT_COUNTERPART:
        values = [published_row(*one).get(column) for one in study.settings_of(results.profile)]
        table.insert(table.columns.get_loc("Acc. (%)"), column, values)
    return table


def readable_published(results: Results) -> pd.DataFrame:
    """Return the preprint's table as text."""
    return study_views.readable_published(published_frame(results))


def sentences(results: Results) -> list[str]:
    """Return what v1.0 leaves at each setting, then the preprint's orderings, in words."""
    return [
        *(_left(results, tokens) for tokens in results.profile.budgets),
        agreement(results, published_row),
        *(ordering.sentence for ordering in orderings(results, published_row)),
    ]


def _left(results: Results, tokens: int) -> str:
    row = results.row((OURS, tokens))
    others = [m for m in results.profile.methods if m != OURS]
    fair = ", ".join(f"{label(m)} {results.row((m, tokens)).tokens_out:.1f}" for m in others)
    return (
        f"With the release's setting for {tokens} tokens {label(OURS)} leaves {row.tokens_out:.1f} "
        f"here (and processes {row.tokens_in:.1f}); the others leave: {fair}. The "
        "comparison is one of settings, not of equal numbers of tokens."
    )


def sections(results: Results) -> list[Section]:
    """Return both tables and the comparison."""
    return [
        Section(title(results), readable(results), notes(results)),
        Section(PAPER_TITLE, readable_published(results)),
        Section("Does the ranking of the preprint hold?", sentences=sentences(results)),
    ]


def save(results: Results, folder: str | Path = "figures") -> list[Path]:
    """Write table_1_v1.md, .csv and .html; arguments as of `study_views.save`."""
    numbers = frame(results)
    numbers.insert(0, "model", title(results))
    return study_views.save("table_1_v1", results.profile, numbers, sections(results), folder)


def figure(results: Results) -> Figure:
    """Return accuracy against the tokens that are really left, and the preprint's against budget.

    Only so do methods compare that do not leave the same number at one setting.
    """
    import matplotlib.pyplot as plt

    from sparsevlm.analysis.style import figure_size, use_style

    use_style()
    fig, (here, paper) = plt.subplots(1, 2, figsize=figure_size(2, 3.0), sharey=True)
    budgets = sorted(results.profile.budgets)
    methods = results.profile.methods
    for method, shift in zip(methods, spread(len(methods), 0.012), strict=True):
        rows = [results.row((method, tokens)) for tokens in budgets]
        at = [(1 + shift) * row.tokens_out for row in rows]  # or the whiskers hide each other
        draw_estimates(here, at, [row.relative for row in rows], method)
        known = [(b, published_row(method, b)["relative_accuracy_percent"]) for b in budgets]
        paper.plot(*zip(*known, strict=True), **line_style(method))
    here.set_title(measured_title(results.profile))
    paper.set_title("published: LLaVA-1.5-7B\nTable 1 of the first preprint")
    for axes in (here, paper):
        axes.axhline(100, color="black", linewidth=0.8, linestyle=":", zorder=1, label="Dense")
    left = [results.row((m, b)).tokens_out for m in methods for b in budgets]
    tokens_axis(here, left, "visual tokens really left (mean over layers)")
    tokens_axis(paper, budgets, "visual tokens as the preprint states them")
    here.set_ylabel("accuracy relative to dense (%)")
    fig.legend(*here.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return fig
