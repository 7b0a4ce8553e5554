"""Table 4: with and without token reconstruction on GQA and POPE, at four budgets.

The paper does not say what happens to the budget where nothing is reconstructed, so both readings
are measured: refilled (as many tokens are left, all of them kept as they are) and not refilled (the
same tokens are kept, and the recycled ones are lost).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sparsevlm.analysis import accounting, drawing, published, statistics, tables
from sparsevlm.analysis.report import Report, Section, comparison, notes, title
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import Results
from sparsevlm.analysis.style import METHOD_STYLE
from sparsevlm.analysis.tables import ends, interval, number
from sparsevlm.benchmarks import BENCHMARKS

WITH = "sparsevlm"
READINGS = ("sparsevlm-no-recycling", "sparsevlm-not-refilled")
NAMES = {
    WITH: "with",
    "sparsevlm-no-recycling": "without (refilled)",
    "sparsevlm-not-refilled": "without (not refilled)",
}
PAPER = published.by_setting("table4")
for _tokens in [tokens for method, tokens in PAPER if method == READINGS[0]]:
    PAPER[READINGS[1], _tokens] = PAPER[READINGS[0], _tokens]  # it has one row for both readings
PAPER_TITLE = f"LLaVA-1.5-7B, as published ({tables.PAPER}, Table 4)"
TOKENS_TITLE = "Visual tokens left by a layer, mean over layers"


def budgets(results: Results) -> list[int]:
    """Return the budgets in the paper's order, fewest first."""
    return sorted(results.profile.budgets)


def _mean_score(results: Results, method: str, benchmark: str, tokens: Sequence[int]) -> np.ndarray:
    return np.mean([results.scores[method, one, benchmark] for one in tokens], axis=0)


def _gains(results: Results, reading: str, benchmark: str, tokens: Sequence[int]) -> np.ndarray:
    ends = [_mean_score(results, method, benchmark, tokens) for method in (WITH, reading)]
    return ends[0] - ends[1]


def gain(results: Results, reading: str, benchmark: str, tokens: Sequence[int]) -> Estimate:
    """Return the score with reconstruction minus that of a reading without, paired.

    Over several budgets it is the mean.
    """
    return statistics.estimate(_gains(results, reading, benchmark, tokens))


def growth(results: Results, reading: str, benchmark: str) -> Estimate:
    """Return the gain at the fewest tokens minus that at the most, in points, paired."""
    few, *_, many = budgets(results)
    drawn = [_gains(results, reading, benchmark, [tokens]) for tokens in (few, many)]
    return statistics.estimate(drawn[0] - drawn[1])


def published_score(method: str, benchmark: str, tokens: Sequence[int]) -> float:
    """Return the paper's score with or without reconstruction, mean over budgets."""
    column = BENCHMARKS[benchmark].paper_column
    return fmean(PAPER[method, one][column] for one in tokens)


def published_gain(benchmark: str, tokens: Sequence[int]) -> float:
    """Return the paper's gain in points, mean over budgets."""
    with_it, without = (published_score(m, benchmark, tokens) for m in (WITH, READINGS[0]))
    return with_it - without


def numbers(results: Results) -> pd.DataFrame:
    """Return every number once, unrounded: one row per benchmark, method and budget.

    Score, low, high; the gain of reconstruction over this row with its paired interval (empty for
    the method itself); published score and gain; visual tokens in and out, mean over layers,
    samples and both benchmarks.
    """
    rows = []
    for name in results.profile.benchmarks:
        for method in (WITH, *READINGS):
            for tokens in budgets(results):
                setting, over = (method, tokens), None
                if method != WITH:
                    over = gain(results, method, name, [tokens])
                rows.append({
                    "benchmark": BENCHMARKS[name].paper_column,
                    "method": method,
                    "tokens": tokens,
                    **ends("score", results.get("score", setting, name), "score"),
                    **ends("gain", over, "gain"),
                    "published score": published_score(method, name, [tokens]),
                    "published gain": published_gain(name, [tokens]) if over else None,
                    "tokens in": results.value("tokens in", setting),
                    "tokens out": results.value("tokens out", setting),
                })  # fmt: skip
    return pd.DataFrame(rows)


def readable(results: Results) -> pd.DataFrame:
    """Return the measured table as text: scores, and under each reading the gain over it."""
    places, rows = _places(results), {}
    for name in results.profile.benchmarks:
        column = BENCHMARKS[name].paper_column
        for method in (*READINGS, WITH):
            scores = [_mean_score(results, method, name, at)[0] for at in places]
            rows[column, NAMES[method]] = [number(one) for one in scores]
        for reading in READINGS:
            gained = [gain(results, reading, name, at) for at in places]
            rows[column, f"gain over {NAMES[reading]}"] = [interval(one, "+") for one in gained]
    return _table(rows, results)


def readable_published(results: Results) -> pd.DataFrame:
    """Return the paper's table as text, with the gain that it implies."""
    places, rows = _places(results), {}
    for name in results.profile.benchmarks:
        column = BENCHMARKS[name].paper_column
        for method, kind in ((READINGS[0], "without"), (WITH, "with")):
            rows[column, kind] = [number(published_score(method, name, at)) for at in places]
        rows[column, "gain"] = [f"{published_gain(name, at):+.1f}" for at in places]
    return _table(rows, results)


def tokens_table(results: Results) -> pd.DataFrame:
    """Return as text how many tokens the three methods leave, here and on LLaVA-1.5-7B."""
    rows = {}
    for method in (*READINGS, WITH):
        left = [results.value("tokens out", (method, b)) for b in budgets(results)]
        paper = [accounting.tokens_out(method, b) for b in budgets(results)]
        for where, counts in ((results.profile.model, left), ("LLaVA-1.5-7B (analytic)", paper)):
            shown = (*counts, sum(counts) / len(counts))
            rows[where, NAMES[method]] = [number(count) for count in shown]
    return _table(dict(sorted(rows.items(), reverse=True)), results, "model")


def _places(results: Results) -> list[list[int]]:
    """Every budget by itself, then all of them for the mean."""
    return [[tokens] for tokens in budgets(results)] + [budgets(results)]


def _table(rows: Mapping, results: Results, first: str = "benchmark") -> pd.DataFrame:
    return tables.indexed(rows, (first, "reconstruction"), [*map(str, budgets(results)), "Avg."])


def claim(results: Results) -> Section:
    """Return the paper's gains, and whether they and their growth are found here."""
    every, (few, *_, many) = budgets(results), budgets(results)
    mean, larger = "mean gain", f"gain at {few} minus gain at {many}"
    found, paper = {}, {}
    for name in results.profile.benchmarks:
        for reading in READINGS:
            key = BENCHMARKS[name].label, f"over {NAMES[reading]}"
            found[(*key, mean)] = gain(results, reading, name, every)
            found[(*key, larger)] = growth(results, reading, name)
            paper[(*key, mean)] = published_gain(name, every)
            paper[(*key, larger)] = published_gain(name, [few]) - published_gain(name, [many])
    names = ("benchmark", "gain of reconstruction")
    return comparison("Does the gain hold?", found, paper, names)


def page(results: Results) -> list[Section]:
    """Return the tables and the comparison."""
    return [
        Section(title(results), readable(results), notes(results, "table_4")),
        Section(TOKENS_TITLE, tokens_table(results)),
        Section(PAPER_TITLE, readable_published(results)),
        claim(results),
    ]


def figure(results: Results) -> Figure:
    """Return the gain of reconstruction budget by budget, and the paper's, per benchmark."""
    names, at = results.profile.benchmarks, budgets(results)
    fig, (row,) = drawing.panels(1, len(names), 2.3, sharex=True, sharey=True)
    for axes, name in zip(row, names, strict=True):
        for reading, shift in zip(READINGS, (-0.2, 0.2), strict=True):
            found = [gain(results, reading, name, [tokens]) for tokens in at]
            places, label = [i + shift for i in range(len(at))], f"measured, over {NAMES[reading]}"
            drawing.draw_estimates(axes, places, found, reading, label=label, linestyle="none")
        axes.plot(
            range(len(at)), [published_gain(name, [b]) for b in at], linestyle="none", marker="o",
            color=METHOD_STYLE[WITH].color, markerfacecolor="white",
            label="published, LLaVA-1.5-7B",
        )  # fmt: skip
        drawing.level_line(axes, 0)
        axes.set_xticks(range(len(at)), list(map(str, at)))
        axes.set(xlim=(-0.5, len(at) - 0.5), xlabel="visual tokens kept (mean over layers)")
        axes.margins(y=0.1)
        axes.grid(axis="y")
        axes.set_title(BENCHMARKS[name].label)
    drawing.y_label(row, "points gained by\ntoken reconstruction")
    drawing.legend_above(fig, [row[0]], 3, drawing.measured_title(results.profile))
    return fig


REPORT = Report("table_4", page, figure, numbers, paper=PAPER)
measure = REPORT.measure
