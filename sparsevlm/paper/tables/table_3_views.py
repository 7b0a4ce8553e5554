"""Table 3 for the eye: data frames, sentences, Markdown, CSV and HTML, and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.analysis import study_views, study_words
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import Results
from sparsevlm.analysis.study_drawing import draw_estimates, line_style, measured_title, spread
from sparsevlm.analysis.study_views import (
    PAPER,
    Section,
    ends,
    indexed,
    interval,
    made_at,
    number,
    title,
)
from sparsevlm.analysis.study_words import in_words, label, maybe_chance
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.plan import DENSE
from sparsevlm.paper.tables.table_3 import (
    CONTROL,
    PAPER_METHODS,
    PAPER_MODEL,
    Row,
    published_relative,
    published_rows,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PAPER_TITLE = f"{PAPER_MODEL}, as published ({PAPER}, Table 3)"
OURS = ("sparsevlm", "sparsevlm-video")


def frame(results: Results) -> pd.DataFrame:
    """Return the measured table, numbers unrounded.

    Returns
    -------
    DataFrame
        Rows by (budget, method). Columns: per benchmark the share of matching answers, its percent
        of the dense model's with interval, and where there are verdicts the judge's accuracy and
        score; the mean percentage; the mean accuracy minus that of the dense model and of random
        tokens, in points; visual tokens in and out; GFLOPs and KV megabytes with their shares.
    """
    import pandas as pd

    dense = results.rows[0]
    return indexed(pd.DataFrame([_measured(row, dense) for row in results.rows]), results)


def _measured(row: Row, dense: Row) -> dict:
    runs: dict[str, float | None] = {}
    for name, score in row.scores.items():
        column = BENCHMARKS[name].paper_column
        runs[column] = score
        runs |= _ends(f"{column} (% of dense)", row.percent[name])
        if name in row.judged:
            runs[f"{column} judged (%)"], runs[f"{column} judge score"] = row.judged[name]
    runs |= _ends("Avg (% of dense)", row.relative)
    runs |= _ends("minus dense", row.against_dense) | _ends("minus random", row.against_random)
    return runs | {
        "tokens in": row.tokens_in,
        "tokens out": row.tokens_out,
        "GFLOPs": row.flops / 1e9,
        "FLOPs (%)": 100 * row.flops / dense.flops,
        "KV (MB)": row.kv / 1e6,
        "KV (%)": 100 * row.kv / dense.kv,
    }


def _ends(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    return ends(name, estimate, name)


def readable(results: Results) -> pd.DataFrame:
    """Return the measured table as text: rounded, every interval beside its number."""
    numbers = frame(results)
    shown = numbers.drop(columns=[c for c in numbers if c.endswith((" low", " high"))])
    shown = shown.map(number).astype(object)
    for column in (c for c in shown if f"{c} low" in numbers):
        sign = "+" if column.startswith("minus") else ""
        parts = numbers[[column, f"{column} low", f"{column} high"]].to_numpy(dtype=float)
        shown[column] = [_interval(Estimate(*row), sign) for row in parts]
    for column, digits in (("GFLOPs", 2), ("KV (MB)", 2)):
        shown[column] = [number(value, digits) for value in numbers[column]]
    for column in (c for c in shown if c.endswith("judge score")):
        shown[column] = [number(value, 2) for value in numbers[column]]
    return shown


def _interval(estimate: Estimate, sign: str) -> str:
    """As `study_views.interval`, without an interval that is the number itself (dense)."""
    if estimate.low == estimate.value == estimate.high:
        return f"{estimate.value:{sign}.1f}"
    return interval(estimate, sign)


def published_frame() -> pd.DataFrame:
    """Return the paper's Table 3: accuracy and judge's score per benchmark, and the averages."""
    import pandas as pd

    paper = published_rows()
    table = pd.DataFrame(
        [
            {**paper[name], "Avg (% of dense, recomputed)": published_relative(name)}
            for name in PAPER_METHODS
        ]
    )
    table.columns = [c.replace("_judge_score", " score").replace("_", " ") for c in table]
    tokens = ["all", *["194"] * (len(PAPER_METHODS) - 1)]
    index = list(zip(tokens, PAPER_METHODS, strict=True))
    table.index = pd.MultiIndex.from_tuples(index, names=["budget", "method"])
    return table


def readable_published() -> pd.DataFrame:
    """Return the paper's table as text."""
    numbers = published_frame()
    shown = numbers.map(number).astype(object)
    for column in (c for c in shown if c.endswith("score")):
        shown[column] = [number(value, 2) for value in numbers[column]]
    return shown


def sentences(results: Results) -> list[str]:
    """Return the paper's comparisons with what is measured here, then the controls, in words."""
    settings = {row.method: (row.method, row.tokens) for row in results.rows}
    ours = [name for name in OURS if name in settings]
    lines = []
    for name in (n for n in ours if "fastv" in settings):
        gap = published_relative("SparseVLM") - published_relative("FastV")
        measured = results.difference(settings[name], settings["fastv"])
        lines.append(
            f"The paper puts SparseVLM {gap:.1f} points of relative accuracy above FastV; here "
            f"{label(name)} minus FastV is {in_words(measured)}: {verdict(measured)}."
        )
    for name in (n for n in ours if CONTROL in settings):
        measured = results.difference(settings[name], settings[CONTROL])
        lines.append(
            f"{label(name)} minus random tokens: {in_words(measured)}{maybe_chance(measured)}."
        )
    for name in (n for n in settings if n != DENSE):
        measured = results.difference(settings[name], settings[DENSE])
        lines.append(f"{label(name)} minus the dense model: {in_words(measured)}.")
    return lines


def verdict(measured: Estimate) -> str:
    """Return whether the measurement agrees that the difference is positive."""
    return study_words.HERE[study_words.verdict(measured)]


def notes(results: Results) -> str:
    """Return how to read the measured table."""
    unjudged = not any(row.judged for row in results.rows)
    judge = (
        " No answer was judged, so there is no score from 0 to 5: the paper's judge, a snapshot of "
        "gpt-3.5-turbo, is retired."
        if unjudged
        else " The judge's columns are of the judge that the verdicts name, not of the paper's."
    )
    return (
        "Accuracy is the share of answers that contain the reference, by rule and not by a "
        "language model; it may be compared within this table and not with the paper's. Brackets "
        "are 95 % intervals from a paired bootstrap over questions, not corrected for the number "
        "of comparisons; the columns with minus are of the mean accuracy, in points. A "
        "budget is the mean over layers of the visual tokens left by each layer (tokens out); the "
        "video release keeps as many tokens as the rank of the scores says, whatever the budget. "
        f"FLOPs are counted by the paper's formula, KV in half precision.{judge}{made_at(results)}"
    )


def sections(results: Results) -> list[Section]:
    """Return both tables and the comparison."""
    return [
        Section(title(results), readable(results), notes(results)),
        Section(PAPER_TITLE, readable_published()),
        Section("Does the claim hold?", sentences=sentences(results)),
    ]


def save(results: Results, folder: str | Path = "figures") -> list[Path]:
    """Write table_3.md, .csv and .html; arguments as of `study_views.save`."""
    numbers = frame(results)
    numbers.insert(0, "model", title(results))
    return study_views.save("table_3", results.profile, numbers, sections(results), folder)


def figure(results: Results) -> Figure:
    """Return percent of dense per benchmark and on average: measured left, published right."""
    import matplotlib.pyplot as plt

    from sparsevlm.analysis.style import figure_size, use_style

    use_style()
    fig, (here, paper) = plt.subplots(1, 2, figsize=figure_size(2, 3.0), sharey=True)
    names = [BENCHMARKS[name].label for name in results.profile.benchmarks] + ["average"]
    pruned = results.rows[1:]
    for row, shift in zip(pruned, spread(len(pruned), 0.13), strict=True):
        at, shown = [i + shift for i in range(len(names))], [*row.percent.values(), row.relative]
        draw_estimates(here, at, shown, row.method, linestyle="none")
    numbers = published_rows()
    for method in ("fastv", "sparsevlm"):
        name, columns = label(method), [c for c in numbers["Dense"] if c.endswith("QA_accuracy")]
        values = [100 * numbers[name][c] / numbers["Dense"][c] for c in columns]
        look = line_style(method)
        paper.plot(range(len(names)), [*values, published_relative(name)], linestyle="none", **look)
    here.set_title(measured_title(results.profile))
    paper.set_title(f"published: {PAPER_MODEL}\nTable 3 of the paper")
    for axes in (here, paper):
        axes.axhline(100, color="black", linewidth=0.8, linestyle=":", zorder=1)
        axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
        axes.grid(axis="y")
    here.set_ylabel("accuracy relative to dense (%)")
    fig.legend(*here.get_legend_handles_labels(), loc="outside upper center", ncols=len(pruned))
    return fig
