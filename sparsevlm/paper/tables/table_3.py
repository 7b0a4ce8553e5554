"""Table 3: four video benchmarks at 194 visual tokens, beside the paper's own numbers."""

from __future__ import annotations

from statistics import fmean

import pandas as pd
from matplotlib.figure import Figure

from sparsevlm.analysis import drawing, published, tables
from sparsevlm.analysis.report import Report, Section, comparison, notes, title
from sparsevlm.analysis.study import DENSE_SETTING, RANDOM, Results
from sparsevlm.analysis.style import SMALLEST
from sparsevlm.analysis.words import label
from sparsevlm.benchmarks import BENCHMARKS

PAPER_MODEL = "Video-LLaVA-7B"
PAPER = published.by_setting("table3")
PAPER_TITLE = f"{PAPER_MODEL}, as published ({tables.PAPER}, Table 3)"
OURS = ("sparsevlm", "sparsevlm-video")
AT = 194  # the paper's budget


def columns(results: Results) -> list[tables.Column]:
    """Return the columns of the measured table; averages only where answers were judged."""
    columns = tables.score_columns(results)[1:]
    if not results.find("mean judge score", DENSE_SETTING):
        return columns
    averages = [
        tables.Column("average accuracy", "mean score"),
        tables.Column("average score", "mean judge score", digits=2),
    ]
    return averages + columns


def numbers(results: Results) -> pd.DataFrame:
    """Return the measured table, numbers unrounded: rows by (budget, method), dense first."""
    return tables.numbers(results, columns(results))


def published_percents(method: str, tokens: int | None = AT) -> list[float]:
    """Return the paper's percentages of the dense accuracies, benchmark by benchmark."""
    paper, dense = PAPER[method, tokens], PAPER[DENSE_SETTING]
    return [100 * paper[name] / dense[name] for name in dense if name.endswith("QA_accuracy")]


def published_relative(method: str, tokens: int | None = AT) -> float:
    """Return the paper's mean of the four percentages of the dense accuracies, recomputed."""
    return fmean(published_percents(method, tokens))


def published_text() -> pd.DataFrame:
    """Return the paper's Table 3 as text: accuracy and judge's score per benchmark, averages."""
    settings = [DENSE_SETTING, ("fastv", AT), ("sparsevlm", AT)]
    rows = [
        {**PAPER[one], "Avg (% of dense, recomputed)": published_relative(*one)} for one in settings
    ]
    table = tables.by_setting(rows, settings)
    table.columns = [c.replace("_judge_score", " score").replace("_", " ") for c in table]
    return tables.as_text(table, {c: 2 for c in table if c.endswith("score")})


def claim(results: Results) -> Section:
    """Return the paper's comparisons with what is measured here, then the controls."""
    settings = {method: (method, tokens) for method, tokens in results.settings}
    pairs = [(name, rival) for rival in ("fastv", RANDOM) for name in OURS]
    pairs += [(name, DENSE_SETTING[0]) for name in results.profile.methods]
    gap = published_relative("sparsevlm") - published_relative("fastv")
    known = [pair for pair in pairs if settings.keys() >= {*pair}]
    keys = {pair: (label(pair[0]), label(pair[1]), AT) for pair in known}
    return comparison(
        "Does the claim hold?",
        {key: results.difference(*(settings[one] for one in pair)) for pair, key in keys.items()},
        {key: gap for (_, rival), key in keys.items() if rival == "fastv"},
    )


def page(results: Results) -> list[Section]:
    """Return what is measured, what is published, and the comparison."""
    judged = bool(results.find("mean judge score", DENSE_SETTING))
    how_to_read = notes(results, "table_3", judged=judged)
    return [
        Section(title(results), tables.readable(results, columns(results)), how_to_read),
        Section(PAPER_TITLE, published_text()),
        claim(results),
    ]


def by_kind(results: Results) -> Section:
    """Return percent right by kind of question."""
    table = tables.as_text(tables.by_kind(results), {"questions": 0})
    how = f"matched by rule, {results.profile.model}"
    return Section(f"Percent right by kind of question: {how}", table)


def figure(results: Results) -> Figure:
    """Return percent of dense per benchmark and on average: measured left, published right."""
    fig, ((left, right),) = drawing.panels(1, 2, 3.0, sharey=True)
    benchmarks = results.profile.benchmarks
    names = [*(BENCHMARKS[name].label for name in benchmarks), "average"]
    pruned = results.settings[1:]
    for setting, shift in zip(pruned, drawing.spread(len(pruned), 0.13), strict=True):
        shown = [results.get("percent", setting, name) for name in benchmarks]
        shown.append(results.get("relative accuracy", setting))
        at = [i + shift for i in range(len(names))]
        drawing.draw_estimates(left, at, shown, setting[0], linestyle="none")
    for method in ("fastv", "sparsevlm"):
        values = [*published_percents(method), published_relative(method)]
        right.plot(range(len(names)), values, **{**drawing.line_style(method), "linestyle": "none"})
    judged = results.judging.of(benchmarks[0])
    by = f"\njudged by {judged.model}" if judged else ""
    left.set_title(drawing.measured_title(results.profile) + by)
    right.set_title(f"published: {PAPER_MODEL}\nTable 3 of the paper")
    for axes in (left, right):
        drawing.level_line(axes, 100)
        lines = [name.replace("-", "-\n") for name in names]
        axes.set_xticks(range(len(names)), lines, size=SMALLEST)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.grid(axis="y")
    if why := drawing.why_no_percent(results):
        drawing.say_empty(left, why)
    drawing.y_label((left, right), drawing.RELATIVE)
    drawing.legend_above(fig, [left], len(pruned))
    return fig


REPORT = Report("table_3", page, figure, numbers, paper=PAPER)
measure = REPORT.measure
