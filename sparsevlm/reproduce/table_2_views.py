"""Table 2 for the eye: data frames, sentences, Markdown, CSV and HTML, and a figure."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.baselines import METHODS
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.reproduce import table_3_views
from sparsevlm.reproduce.atomic import write_text
from sparsevlm.reproduce.paths import ROOT
from sparsevlm.reproduce.plan import DENSE
from sparsevlm.reproduce.table_1_compare import in_words
from sparsevlm.reproduce.table_1_views import markdown, styled
from sparsevlm.reproduce.table_2 import (
    OURS,
    PAPER_MODEL,
    Results,
    average,
    mean_visual,
    published_retained,
    published_rows,
)
from sparsevlm.reproduce.table_3_views import title

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PAPER_TITLE = f"{PAPER_MODEL}, as published (arXiv 2410.04417v4, Table 2)"
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
        cells = {c: v for c, v in paper[budget].items() if not c.endswith(SUFFIX)}
        cells["Avg"] = cells.pop("average")
        cells["Avg (% of dense, recomputed)"] = published_retained(budget) if budget else 100.0
        lines.append(cells)
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
            chance = "" if measured.excludes_zero else ", which may be chance"
            label = METHODS[rival].label
            lines.append(
                f"At {budget} tokens SparseVLM minus {label}: {in_words(measured)}{chance}."
            )
    return lines


def notes(results: Results) -> str:
    """Return how to read the measured table."""
    commits = {s["commit"] for r in results.records.values() for s in r.sessions if s.get("commit")}
    made = f" Measured at commit {', '.join(sorted(c[:12] for c in commits))}." if commits else ""
    return (
        "Brackets are 95 % intervals from a paired bootstrap over questions, not corrected for the "
        "number of comparisons; the columns with minus are of the mean score, in points. The paper "
        "names a budget for pictures of any size and no schedule. Here a schedule is made for the "
        "nominal picture and keeps the same number of tokens of every picture (all of them where "
        "there are no more), so the mean over the layers follows the size a little: tokens out is "
        f"what was left. FLOPs are counted by the paper's formula. {tokens_line(results)}{made}"
    )


def report(results: Results) -> str:
    """Return both tables and the comparison as a Markdown page."""
    lines = "\n".join(f"- {sentence}" for sentence in sentences(results))
    return (
        f"## {title(results)}\n\n{markdown(readable(results))}\n\n{notes(results)}\n\n"
        f"## {PAPER_TITLE}\n\n{markdown(readable_published())}\n\n"
        f"## Does the claim hold?\n\n{lines}\n"
    )


def save(results: Results, folder: str | Path = "figures") -> list[Path]:
    """Write table_2.md, table_2.csv and table_2.html, each whole or not at all.

    Parameters
    ----------
    results : Results
        What to write.
    folder : str or path
        Relative to the repository; a profile other than the miniature gets a folder of its own.
    """
    target = ROOT / folder
    if results.profile.name != "mini":
        target = target / results.profile.name
    numbers = frame(results)
    numbers.insert(0, "model", title(results))
    pages = [
        styled(readable(results), title(results)).to_html(table_uuid="measured"),
        f"<p>{notes(results)}</p>",
        styled(readable_published(), PAPER_TITLE).to_html(table_uuid="published"),
    ]
    written = {
        "table_2.md": report(results),
        "table_2.csv": numbers.to_csv(lineterminator="\n"),
        "table_2.html": "<!doctype html><meta charset='utf-8'><title>Table 2</title>\n"
        + "\n".join(pages),
    }
    for name, text in written.items():
        write_text(target / name, text)
    return [target / name for name in written]


def figure(results: Results) -> Figure:
    """Return percent of the dense scores by budget: measured left, published right."""
    import matplotlib.pyplot as plt

    from sparsevlm.reproduce.style import METHOD_STYLE, figure_size, use_style

    use_style()
    fig, (here, paper) = plt.subplots(1, 2, figsize=figure_size(2, 3.0), sharex=True, sharey=True)
    budgets = sorted(results.profile.budgets)
    rows = {(row.method, row.tokens): row.relative for row in results.rows}
    for place, method in enumerate(results.profile.methods):
        style = METHOD_STYLE[method]
        shown = [rows[method, budget] for budget in budgets]
        values = [e.value for e in shown]
        whiskers = [[e.value - e.low for e in shown], [e.high - e.value for e in shown]]
        at = [b + 6 * (place - (len(results.profile.methods) - 1) / 2) for b in budgets]
        here.errorbar(at, values, whiskers, elinewidth=0.7, capsize=1.5,
                      color=style.colour, marker=style.marker, label=style.label)  # fmt: skip
    style, known = METHOD_STYLE[OURS], [b for b in budgets if b in published_rows()]
    paper.plot(known, [published_retained(b) for b in known], color=style.colour,
               marker=style.marker)  # fmt: skip
    here.set_title(f"measured: {results.profile.model}\n{results.profile.marker}".strip())
    paper.set_title(f"published: {PAPER_MODEL}\nTable 2 of the paper")
    for axes in (here, paper):
        axes.axhline(100, color="black", linewidth=0.8, linestyle=":", zorder=1)
        axes.set_xticks(budgets, [str(b) for b in budgets])
        axes.set_xlabel("visual tokens kept (mean over layers)")
        axes.grid(axis="y")
    here.set_ylabel("accuracy relative to dense (%)")
    fig.legend(*here.get_legend_handles_labels(), loc="outside upper center", ncols=len(rows))
    return fig
