"""Table 1 for the eye: data frames, Markdown, CSV and HTML, and accuracy against budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.baselines import METHODS
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.reproduce.atomic import write_text
from sparsevlm.reproduce.paths import ROOT
from sparsevlm.reproduce.plan import DENSE
from sparsevlm.reproduce.statistics import Estimate
from sparsevlm.reproduce.table_1 import Results, Row, published_row, settings_of
from sparsevlm.reproduce.table_1_compare import agreement, controls, orderings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas.io.formats.style import Styler

PAPER_TITLE = "LLaVA-1.5-7B, as published (arXiv 2410.04417v4, Table 1)"
NONE = "–"


def title(results: Results) -> str:
    """Return what the measured table is of, so that no miniature passes for LLaVA."""
    marker = f" ({results.profile.marker})" if results.profile.marker else ""
    sizes = {len(record.predictions) for record in results.records.values()}
    questions = "–".join(str(n) for n in sorted({min(sizes), max(sizes)}))
    return f"{results.profile.model}{marker}, {questions} questions per benchmark"


def frame(results: Results) -> pd.DataFrame:
    """Return the measured table, numbers unrounded.

    Returns
    -------
    DataFrame
        Rows by (budget, method). Columns: the eight scores; "Acc. (%)", mean of the percentages of
        the dense scores, with its 95 % interval; "SparseVLM ahead by" with its paired interval, in
        points; visual tokens in and out; GFLOPs, and their share of the dense model's.
    """
    import pandas as pd

    dense = results.rows[0].flops
    return _indexed(pd.DataFrame([_measured(row, dense) for row in results.rows]), results)


def _measured(row: Row, dense_flops: float) -> dict:
    ahead = row.ahead
    return {
        **{BENCHMARKS[name].paper_column: score for name, score in row.scores.items()},
        "Acc. (%)": row.relative.value,
        "Acc. low": row.relative.low,
        "Acc. high": row.relative.high,
        "SparseVLM ahead by": ahead.value if ahead else None,
        "ahead low": ahead.low if ahead else None,
        "ahead high": ahead.high if ahead else None,
        "tokens in": row.tokens_in,
        "tokens out": row.tokens_out,
        "GFLOPs": row.flops / 1e9,
        "FLOPs (%)": 100 * row.flops / dense_flops,
    }


def published_frame(results: Results) -> pd.DataFrame:
    """Return the paper's Table 1 in the same rows; empty where the paper has none."""
    import pandas as pd

    dense = published_row(DENSE, None)["prefill_tflops"]
    rows = []
    for setting in settings_of(results.profile):
        paper = published_row(*setting)
        flops = paper.get("prefill_tflops")
        columns = [BENCHMARKS[name].paper_column for name in results.profile.benchmarks]
        rows.append(
            {
                **{column: paper.get(column) for column in columns},
                "Acc. (%)": paper.get("relative_accuracy_percent"),
                "TFLOPs": flops,
                "FLOPs (%)": 100 * flops / dense if flops else None,
            }
        )
    return _indexed(pd.DataFrame(rows), results)


def _indexed(table: pd.DataFrame, results: Results) -> pd.DataFrame:
    import pandas as pd

    names = [
        ("all" if b is None else str(b), METHODS[m].label) for m, b in settings_of(results.profile)
    ]
    table.index = pd.MultiIndex.from_tuples(names, names=["budget", "method"])
    return table


def readable(results: Results) -> pd.DataFrame:
    """Return the measured table as text: rounded, every interval beside its number."""
    numbers = frame(results)
    shown = numbers.drop(columns=["Acc. low", "Acc. high", "ahead low", "ahead high"]).map(_number)
    shown["Acc. (%)"] = [
        _number(r.relative.value) if r.method == DENSE else _interval(r.relative, "")
        for r in results.rows
    ]
    shown["SparseVLM ahead by"] = [
        _interval(r.ahead, "+") if r.ahead else NONE for r in results.rows
    ]
    shown["GFLOPs"] = [f"{value:.2f}" for value in numbers["GFLOPs"]]
    return shown


def _interval(estimate: Estimate, sign: str) -> str:
    if not estimate.exists:
        return NONE
    value, low, high = (
        f"{number:{sign}.1f}" for number in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low}, {high}]"


def _number(value: float | None) -> str:
    return NONE if value is None or value != value else f"{value:.1f}"


def readable_published(results: Results) -> pd.DataFrame:
    """Return the paper's table as text."""
    numbers = published_frame(results)
    shown = numbers.map(_number)
    shown["TFLOPs"] = [NONE if v != v else f"{v:.2f}" for v in numbers["TFLOPs"]]
    return shown


def styled(table: pd.DataFrame, caption: str) -> Styler:
    """Return a readable table as HTML, SparseVLM in bold, budgets apart."""
    ours = METHODS["sparsevlm"].label
    firsts = [i for i, b in enumerate(table.index.get_level_values(0)) if i and _is_new(table, i)]
    rules = [
        {"selector": f"tbody tr:nth-child({i + 1}) td, tbody tr:nth-child({i + 1}) th",
         "props": "border-top: 1px solid #999"}
        for i in firsts
    ]  # fmt: skip
    base = [
        {"selector": "caption", "props": "font-weight: bold; text-align: left; padding: 4px 0"},
        {"selector": "td, th", "props": "text-align: right; padding: 2px 8px; white-space: nowrap"},
        {"selector": "th.row_heading", "props": "text-align: left; vertical-align: top"},
    ]

    def bold(row: pd.Series) -> list[str]:
        return ["font-weight: bold" if row.name[1] == ours else ""] * len(row)

    return table.style.set_caption(caption).apply(bold, axis=1).set_table_styles(base + rules)


def _is_new(table: pd.DataFrame, i: int) -> bool:
    budgets = table.index.get_level_values(0)
    return budgets[i] != budgets[i - 1]


def markdown(table: pd.DataFrame) -> str:
    """Return a readable table as Markdown."""
    head = [*table.index.names, *table.columns]
    body = [[*index, *cells] for index, cells in zip(table.index, table.to_numpy(), strict=True)]
    rule = ["---", "---"] + ["---:"] * len(table.columns)
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in [head, rule, *body])


def sentences(results: Results) -> list[str]:
    """Return the agreement with the paper, then every ordering, then the controls, in words."""
    return [
        agreement(results),
        *(ordering.sentence for ordering in orderings(results)),
        *(control.sentence for control in controls(results)),
    ]


def report(results: Results) -> str:
    """Return both tables and the comparison as a Markdown page."""
    lines = "\n".join(f"- {sentence}" for sentence in sentences(results))
    return (
        f"## {title(results)}\n\n{markdown(readable(results))}\n\n{notes(results)}\n\n"
        f"## {PAPER_TITLE}\n\n{markdown(readable_published(results))}\n\n"
        f"## Does the ranking hold?\n\n{lines}\n"
    )


def notes(results: Results) -> str:
    """Return how to read the measured table."""
    commits = {s["commit"] for r in results.records.values() for s in r.sessions if s.get("commit")}
    if "mme" in results.profile.benchmarks:
        best = next(r.scores["best"] for k, r in results.records.items() if k[2] == "mme")
        mme = f" MME is in points, at most {best:.0f} here and 2800 in the paper."
    else:
        mme = ""
    made = f" Measured at commit {', '.join(sorted(c[:12] for c in commits))}." if commits else ""
    return (
        "Budgets are the mean over layers of the visual tokens left by each layer (tokens out), as "
        "in the paper; what is computed is the mean entering each layer (tokens in). Acc. is the "
        "mean of the percentages of the dense scores. Brackets are 95 % intervals from a paired "
        "bootstrap over questions, not corrected for the number of comparisons. FLOPs are counted "
        f"by the paper's formula.{mme} MM-Vet is scored by a normalised match, not by GPT-4.{made}"
    )


def save(results: Results, folder: str | Path = "figures") -> list[Path]:
    """Write table_1.md, table_1.csv and table_1.html, each whole or not at all.

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
        styled(readable_published(results), PAPER_TITLE).to_html(table_uuid="published"),
    ]
    written = {
        "table_1.md": report(results),
        "table_1.csv": numbers.to_csv(lineterminator="\n"),
        "table_1.html": "<!doctype html><meta charset='utf-8'><title>Table 1</title>\n"
        + "\n".join(pages),
    }
    for name, text in written.items():
        write_text(target / name, text)
    return [target / name for name in written]


def figure(results: Results) -> Figure:
    """Return relative accuracy against budget: measured on the left, published on the right."""
    import matplotlib.pyplot as plt

    from sparsevlm.reproduce.style import figure_size, use_style

    use_style()
    fig, (here, paper) = plt.subplots(1, 2, figsize=figure_size(2, 3.0), sharex=True, sharey=True)
    methods, budgets = results.profile.methods, sorted(results.profile.budgets)
    for place, method in enumerate(methods):
        shift = 1 + 0.012 * (place - (len(methods) - 1) / 2)  # or the whiskers hide each other
        _measured_line(here, results, method, [b * shift for b in budgets])
        known = [(b, published_row(method, b)) for b in budgets]
        known = [(b * shift, row["relative_accuracy_percent"]) for b, row in known if row]
        if known:
            paper.plot(*zip(*known, strict=True), **_line_style(method))
    here.set_title(f"measured: {results.profile.model}\n{results.profile.marker}".strip())
    paper.set_title("published: LLaVA-1.5-7B\nTable 1 of the paper")
    _axes(here, paper, budgets)
    entries = here.get_legend_handles_labels()
    fig.legend(*entries, loc="outside upper center", ncols=-(-len(entries[1]) // 2))
    return fig


def _measured_line(axes: Axes, results: Results, method: str, at: Sequence[float]) -> None:
    budgets = sorted(results.profile.budgets)
    rows = {(r.method, r.tokens): r.relative for r in results.rows}
    relative = [rows[method, budget] for budget in budgets]
    values = [e.value for e in relative]
    whiskers = [[e.value - e.low for e in relative], [e.high - e.value for e in relative]]
    axes.errorbar(at, values, whiskers, elinewidth=0.7, capsize=1.5, **_line_style(method))


def _line_style(method: str) -> dict:
    from sparsevlm.reproduce.style import METHOD_STYLE

    style = METHOD_STYLE[method]
    front = 3 if method == "sparsevlm" else 2
    return {"color": style.colour, "marker": style.marker, "label": style.label, "zorder": front}


def _axes(here: Axes, paper: Axes, budgets: Sequence[int]) -> None:
    for axes in (here, paper):
        axes.axhline(100, color="black", linewidth=0.8, linestyle=":", zorder=1, label="Dense")
        axes.set_xscale("log", base=2)
        axes.set_xticks(budgets, [str(b) for b in budgets])
        axes.minorticks_off()
        axes.set_xlabel("visual tokens kept (mean over layers)")
        axes.grid(axis="y")
    here.set_ylabel("accuracy relative to dense (%)")
