"""Table 3 for the eye: data frames, sentences, Markdown, CSV and HTML, and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.baselines import METHODS
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.reproduce.atomic import write_text
from sparsevlm.reproduce.paths import ROOT
from sparsevlm.reproduce.plan import DENSE
from sparsevlm.reproduce.statistics import Estimate
from sparsevlm.reproduce.table_1_compare import in_words
from sparsevlm.reproduce.table_1_views import markdown, styled
from sparsevlm.reproduce.table_3 import (
    CONTROL,
    PAPER_METHODS,
    PAPER_MODEL,
    Results,
    Row,
    published_relative,
    published_rows,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PAPER_TITLE = f"{PAPER_MODEL}, as published (arXiv 2410.04417v4, Table 3)"
NONE = "–"
OURS = ("sparsevlm", "sparsevlm-video")


def title(results: Results) -> str:
    """Return what the measured table is of, so that no miniature passes for Video-LLaVA."""
    marker = f" ({results.profile.marker})" if results.profile.marker else ""
    sizes = sorted({len(record.predictions) for record in results.records.values()})
    questions = "–".join(map(str, sizes))
    return f"{results.profile.model}{marker}, {questions} questions per benchmark"


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
    table = pd.DataFrame([_measured(row, dense) for row in results.rows])
    names = [("all" if r.tokens is None else str(r.tokens), _label(r)) for r in results.rows]
    table.index = pd.MultiIndex.from_tuples(names, names=["budget", "method"])
    return table


def _label(row: Row) -> str:
    return METHODS[row.method].label


def _measured(row: Row, dense: Row) -> dict:
    cells: dict[str, float | None] = {}
    for name, score in row.scores.items():
        column = BENCHMARKS[name].paper_column
        cells[column] = score
        cells |= _ends(f"{column} (% of dense)", row.percent[name])
        if name in row.judged:
            cells[f"{column} judged (%)"], cells[f"{column} judge score"] = row.judged[name]
    cells |= _ends("Avg (% of dense)", row.relative)
    cells |= _ends("minus dense", row.against_dense) | _ends("minus random", row.against_random)
    return cells | {
        "tokens in": row.tokens_in,
        "tokens out": row.tokens_out,
        "GFLOPs": row.flops / 1e9,
        "FLOPs (%)": 100 * row.flops / dense.flops,
        "KV (MB)": row.kv / 1e6,
        "KV (%)": 100 * row.kv / dense.kv,
    }


def _ends(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return dict.fromkeys((name, f"{name} low", f"{name} high"))
    return {name: estimate.value, f"{name} low": estimate.low, f"{name} high": estimate.high}


def readable(results: Results) -> pd.DataFrame:
    """Return the measured table as text: rounded, every interval beside its number."""
    numbers = frame(results)
    shown = numbers.drop(columns=[c for c in numbers if c.endswith((" low", " high"))])
    shown = shown.map(lambda v: _number(v, 1)).astype(object)
    for column in (c for c in shown if f"{c} low" in numbers):
        sign = "+" if column.startswith("minus") else ""
        ends = numbers[[column, f"{column} low", f"{column} high"]].to_numpy(dtype=float)
        shown[column] = [_interval(*row, sign) for row in ends]
    for column, digits in (("GFLOPs", 2), ("KV (MB)", 2)):
        shown[column] = [_number(value, digits) for value in numbers[column]]
    for column in (c for c in shown if c.endswith("judge score")):
        shown[column] = [_number(value, 2) for value in numbers[column]]
    return shown


def _interval(value: float, low: float, high: float, sign: str) -> str:
    if value != value:
        return NONE
    if value == low == high:
        return f"{value:{sign}.1f}"
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None or value != value else f"{value:.{digits}f}"


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
    shown = numbers.map(lambda v: _number(v, 1)).astype(object)
    for column in (c for c in shown if c.endswith("score")):
        shown[column] = [_number(value, 2) for value in numbers[column]]
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
            f"{METHODS[name].label} minus FastV is {in_words(measured)}: {verdict(measured)}."
        )
    for name in (n for n in ours if CONTROL in settings):
        measured = results.difference(settings[name], settings[CONTROL])
        chance = "" if measured.excludes_zero else ", which may be chance"
        lines.append(f"{METHODS[name].label} minus random tokens: {in_words(measured)}{chance}.")
    for name in (n for n in settings if n != DENSE):
        measured = results.difference(settings[name], settings[DENSE])
        lines.append(f"{METHODS[name].label} minus the dense model: {in_words(measured)}.")
    return lines


def verdict(measured: Estimate) -> str:
    """Return whether the miniature agrees that the difference is positive."""
    if not measured.excludes_zero:
        return "the miniature cannot tell"
    return "the miniature agrees" if measured.low > 0 else "the miniature contradicts it"


def notes(results: Results) -> str:
    """Return how to read the measured table."""
    commits = {s["commit"] for r in results.records.values() for s in r.sessions if s.get("commit")}
    made = f" Measured at commit {', '.join(sorted(c[:12] for c in commits))}." if commits else ""
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
        f"FLOPs are counted by the paper's formula, KV in half precision.{judge}{made}"
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
    """Write table_3.md, table_3.csv and table_3.html, each whole or not at all.

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
        "table_3.md": report(results),
        "table_3.csv": numbers.to_csv(lineterminator="\n"),
        "table_3.html": "<!doctype html><meta charset='utf-8'><title>Table 3</title>\n"
        + "\n".join(pages),
    }
    for name, text in written.items():
        write_text(target / name, text)
    return [target / name for name in written]


def figure(results: Results) -> Figure:
    """Return percent of dense per benchmark and on average: measured left, published right."""
    import matplotlib.pyplot as plt

    from sparsevlm.reproduce.style import METHOD_STYLE, figure_size, use_style

    use_style()
    fig, (here, paper) = plt.subplots(1, 2, figsize=figure_size(2, 3.0), sharey=True)
    names = [BENCHMARKS[name].label for name in results.profile.benchmarks] + ["average"]
    pruned = results.rows[1:]
    for place, row in enumerate(pruned):
        style = METHOD_STYLE[row.method]
        at = [i + 0.13 * (place - (len(pruned) - 1) / 2) for i in range(len(names))]
        shown = [*row.percent.values(), row.relative]
        values = [e.value for e in shown]
        whiskers = [[e.value - e.low for e in shown], [e.high - e.value for e in shown]]
        here.errorbar(at, values, whiskers, linestyle="none", elinewidth=0.7, capsize=1.5,
                      color=style.colour, marker=style.marker, label=style.label)  # fmt: skip
    numbers = published_rows()
    for method in ("fastv", "sparsevlm"):
        style, label = METHOD_STYLE[method], METHODS[method].label
        columns = [c for c in numbers["Dense"] if c.endswith("QA_accuracy")]
        values = [100 * numbers[label][c] / numbers["Dense"][c] for c in columns]
        paper.plot(range(len(names)), [*values, published_relative(label)], linestyle="none",
                   color=style.colour, marker=style.marker)  # fmt: skip
    here.set_title(f"measured: {results.profile.model}\n{results.profile.marker}".strip())
    paper.set_title(f"published: {PAPER_MODEL}\nTable 3 of the paper")
    for axes in (here, paper):
        axes.axhline(100, color="black", linewidth=0.8, linestyle=":", zorder=1)
        axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
        axes.grid(axis="y")
    here.set_ylabel("accuracy relative to dense (%)")
    fig.legend(*here.get_legend_handles_labels(), loc="outside upper center", ncols=len(pruned))
    return fig
