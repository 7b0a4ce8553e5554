"""Today's methods under one account, and beside them what others measured on LLaVA-1.5-7B.

`data/independent.csv` has every published average at 192, 128 and 64 tokens that was found, in
percent of the dense model, with its source. The sets of benchmarks differ, so values of one source
compare with each other and those of different sources show how far a row moves with who runs it.
"""

from __future__ import annotations

from functools import cache

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsevlm.analysis import drawing, tables
from sparsevlm.analysis.report import Report, Section, measured
from sparsevlm.analysis.study import Results
from sparsevlm.analysis.words import label
from sparsevlm.evaluation.paths import DATA

FILE = DATA / "independent.csv"
# How a value came about: the source ran all methods itself in one environment, or this row, or it
# is the method's own paper, or it repeats an older one, or does not say.
ORIGINS = ("one environment", "run by the source", "its authors", "not stated", "carried over")
ONE_ENVIRONMENT = ORIGINS[0]


@cache
def published() -> pd.DataFrame:
    """Return the published values: source, arxiv, table, tokens, method, relative, origin."""
    return pd.read_csv(FILE, dtype={"arxiv": str}, keep_default_na=False)


def values(method: str, tokens: int) -> pd.DataFrame:
    """Return what was published of a method at a budget."""
    rows = published()
    return rows[(rows.method == method) & (rows.tokens == tokens)]


def leads(first: str, second: str, tokens: int) -> str:
    """Return first minus second, in points, of every source that ran both in one environment."""
    pair = [
        rows[rows.origin == ONE_ENVIRONMENT].set_index("source").relative
        for rows in (values(first, tokens), values(second, tokens))
    ]
    apart = (pair[0] - pair[1]).dropna()
    return "; ".join(f"{lead:+.1f} {source}" for source, lead in apart.items()) or tables.NONE


def names(results: Results) -> list[str]:
    """Return the methods of the study, then those that only others measured."""
    return list(dict.fromkeys((*results.profile.methods, *published().method)))


def beside(results: Results) -> pd.DataFrame:
    """Return what is measured here and every published value, by budget and method, as text."""
    rows = {}
    for tokens in results.profile.budgets:
        for method in names(results):
            found, cells = values(method, tokens), []
            for origin in ORIGINS:
                ones = found[found.origin == origin]
                told = [f"{one.relative:.1f} {one.source}" for one in ones.itertuples()]
                cells.append("; ".join(told) or tables.NONE)
            spread = f"{found.relative.min():.1f} to {found.relative.max():.1f}"
            here = tables.NONE
            if method in results.profile.methods:
                here = tables.interval(results.get("relative accuracy", (method, tokens)))
            rows[str(tokens), label(method)] = [here, spread if len(found) else tables.NONE, *cells]
    return tables.indexed(rows, ("budget", "method"), ["here", "published", *ORIGINS])


def sentences(results: Results) -> list[str]:
    """Return what moves most: ToMe's rows, and every method's spread at the smallest budget."""
    lines = []
    for tokens in results.profile.budgets:
        tome = values("tome", tokens)
        rows = {one.source: one.relative for one in tome.itertuples()}
        if {"SparseVLM", "RESTORE"} <= set(rows) and "tome" in results.profile.methods:
            here = tables.interval(results.get("relative accuracy", ("tome", tokens)))
            lines.append(
                f"ToMe at {tokens} tokens: {rows['SparseVLM']:.1f} % of dense in SparseVLM's "
                f"paper, {rows['RESTORE']:.1f} where RESTORE ran it, {here} here."
            )
    tokens = min(results.profile.budgets)
    spreads = {method: values(method, tokens).relative for method in names(results)}
    spreads = {name: found for name, found in spreads.items() if len(found) > 1}
    if spreads:
        widest = max(spreads, key=lambda name: spreads[name].max() - spreads[name].min())
        lines.append(
            f"At {tokens} tokens the published values of {label(widest)} lie furthest apart, "
            f"{spreads[widest].min():.1f} to {spreads[widest].max():.1f}: who runs a method can "
            "move it by more than most methods differ."
        )
    return lines


def page(results: Results) -> list[Section]:
    """Return the measured table, and what others measured beside it."""
    return [
        measured(results),
        Section("Who measured what (accuracy in percent of dense)", sentences=sentences(results)),
        Section("Here, and on LLaVA-1.5-7B by others (percent of dense)", beside(results)),
    ]


def figure(results: Results) -> Figure:
    """Return one panel per budget: measured here with intervals, published values as circles."""
    fig, (row,) = drawing.panels(1, len(results.profile.budgets), 3.4, sharey=True)
    shown = names(results)
    for axes, tokens in zip(row, results.profile.budgets, strict=True):
        _draw_panel(axes, results, tokens, shown)
    row[0].set_yticks(range(len(shown)), [label(name) for name in shown])
    row[0].set_ylim(len(shown) - 0.4, -0.6)
    drawing.legend_above(fig, [row[0]], 3, drawing.measured_title(results.profile))
    return fig


def _draw_panel(axes: Axes, results: Results, tokens: int, shown: list[str]) -> None:
    for place, method in enumerate(shown):
        found = values(method, tokens)
        same = found.origin == ONE_ENVIRONMENT
        for ones, face in ((found[~same], "none"), (found[same], "#444444")):
            axes.scatter(
                ones.relative, [place - 0.22] * len(ones), s=10, facecolors=face,
                edgecolors="#444444", linewidths=0.6,
            )  # fmt: skip
        if method in results.profile.methods:
            here = results.get("relative accuracy", (method, tokens))
            axes.errorbar(
                [here.value], [place + 0.18], xerr=drawing.error_bars([here]), color="#D55E00",
                marker="s", markersize=3, elinewidth=0.8,
            )  # fmt: skip
    axes.errorbar([], [], color="#D55E00", marker="s", markersize=3, label="here, 95 % interval")
    axes.scatter([], [], s=10, facecolors="#444444", edgecolors="#444444",
                 label="LLaVA-1.5-7B, by a source that ran all in one environment")  # fmt: skip
    axes.scatter([], [], s=10, facecolors="none", edgecolors="#444444",
                 label="LLaVA-1.5-7B, by others")  # fmt: skip
    axes.axvline(100, color="black", linewidth=0.8, linestyle=":")
    axes.set_title(f"{tokens} tokens")
    axes.set_xlabel(drawing.RELATIVE)
    axes.grid(axis="x")


REPORT = Report("methods", page, figure)
measure = REPORT.measure
