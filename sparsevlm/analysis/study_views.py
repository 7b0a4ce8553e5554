"""A study for the eye: data frames, Markdown, CSV and HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import Results, Row, settings_of
from sparsevlm.analysis.study_words import label
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.paths import ROOT
from sparsevlm.evaluation.plan import DENSE
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.results.atomic import write_text

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler

NONE = "–"
PAPER = "arXiv 2410.04417v4"


def title(results: Results) -> str:
    """Return what a measured table is of, so that no miniature passes for the real model."""
    marker = f" ({results.profile.marker})" if results.profile.marker else ""
    sizes = {len(record.predictions) for record in results.records.values()}
    questions = "–".join(str(n) for n in sorted({min(sizes), max(sizes)}))
    return f"{results.profile.model}{marker}, {questions} questions per benchmark"


def made_at(results: Results) -> str:
    """Return a sentence with the commits that measured, or nothing where none is known."""
    commits = {s["commit"] for r in results.records.values() for s in r.sessions if s.get("commit")}
    short = ", ".join(sorted(commit[:12] for commit in commits))
    return f" Measured at commit {short}." if commits else ""


def notes(results: Results) -> str:
    """Return how to read a measured table of settings."""
    names, extra = results.profile.benchmarks, ""
    if "mme" in names:
        best = next(r.scores["best"] for k, r in results.records.items() if k[2] == "mme")
        extra += f" MME is in points, at most {best:.0f} here and 2800 in the paper."
    if "mmvet" in names:
        extra += " MM-Vet is scored by a normalised match, not by GPT-4."
    return (
        "Budgets are the mean over layers of the visual tokens left by each layer (tokens out), as "
        "in the paper; what is computed is the mean entering each layer (tokens in). Acc. is the "
        "mean of the percentages of the dense scores. Brackets are 95 % intervals from a paired "
        "bootstrap over questions, not corrected for the number of comparisons. FLOPs are counted "
        f"by the paper's formula.{extra}{made_at(results)}"
    )


# --- Tables of settings ------------------------------------------------------------------------


def frame(results: Results) -> pd.DataFrame:
    """Return the measured table, numbers unrounded.

    Returns
    -------
    DataFrame
        Rows by (budget, method). Columns: the scores; "Acc. (%)", mean of the percentages of the
        dense scores, with its 95 % interval; "SparseVLM ahead by" (or whatever `Results.ours` is
        called) with its paired interval, in points; visual tokens in and out; GFLOPs, and their
        share of the dense model's.
    """
    import pandas as pd

    dense = results.rows[0].flops
    rows = [_measured(row, dense, ahead_column(results)) for row in results.rows]
    return indexed(pd.DataFrame(rows), results)


def ahead_column(results: Results) -> str:
    """Return the head of the column with the lead of `Results.ours`."""
    return f"{label(results.ours)} ahead by"


def _measured(row: Row, dense_flops: float, ahead: str) -> dict:
    return {
        **{BENCHMARKS[name].paper_column: score for name, score in row.scores.items()},
        **ends("Acc. (%)", row.relative, "Acc."),
        **ends(ahead, row.ahead, "ahead"),
        "tokens in": row.tokens_in,
        "tokens out": row.tokens_out,
        "GFLOPs": row.flops / 1e9,
        "FLOPs (%)": 100 * row.flops / dense_flops,
    }


def ends(column: str, estimate: Estimate | None, short: str) -> dict[str, float | None]:
    """Return the three columns of an estimate: the value, "SHORT low" and "SHORT high"."""
    if estimate is None:
        return dict.fromkeys((column, f"{short} low", f"{short} high"))
    return {column: estimate.value, f"{short} low": estimate.low, f"{short} high": estimate.high}


def published_frame(
    results: Results, published: Callable[[str, int | None], dict[str, float]]
) -> pd.DataFrame:
    """Return the paper's numbers in the same rows; empty where the paper has none.

    Parameters
    ----------
    results : Results
    published : (method, tokens) -> dict of float
        The paper's numbers by measure.
    """
    import pandas as pd

    dense = published(DENSE, None).get("prefill_tflops")
    columns = [BENCHMARKS[name].paper_column for name in results.profile.benchmarks]
    rows = []
    for setting in settings_of(results.profile):
        paper = published(*setting)
        row = {column: paper.get(column) for column in columns}
        row["Acc. (%)"] = paper.get("relative_accuracy_percent")
        if dense:
            flops = paper.get("prefill_tflops")
            row |= {"TFLOPs": flops, "FLOPs (%)": 100 * flops / dense if flops else None}
        rows.append(row)
    return indexed(pd.DataFrame(rows), results)


def indexed(table: pd.DataFrame, results: Results) -> pd.DataFrame:
    """Return a table with one row per setting under the names of its settings."""
    import pandas as pd

    names = [("all" if b is None else str(b), label(m)) for m, b in settings_of(results.profile)]
    table.index = pd.MultiIndex.from_tuples(names, names=["budget", "method"])
    return table


def readable(results: Results) -> pd.DataFrame:
    """Return the measured table as text: rounded, every interval beside its number."""
    numbers = frame(results)
    inner = [column for column in numbers if column.endswith((" low", " high"))]
    shown = numbers.drop(columns=inner).map(number).astype(object)
    shown["Acc. (%)"] = [
        number(r.relative.value) if r.method == DENSE else interval(r.relative)
        for r in results.rows
    ]
    shown[ahead_column(results)] = [
        interval(r.ahead, "+") if r.ahead else NONE for r in results.rows
    ]
    shown["GFLOPs"] = [number(value, 2) for value in numbers["GFLOPs"]]
    return shown


def readable_published(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of published numbers as text."""
    shown = table.map(number).astype(object)
    if "TFLOPs" in table:
        shown["TFLOPs"] = [number(value, 2) for value in table["TFLOPs"]]
    return shown


def interval(estimate: Estimate, sign: str = "") -> str:
    """Return "1.2 [0.3, 2.1]", with signs where `sign` is "+"; a dash where there is no number."""
    if not estimate.exists:
        return NONE
    value, low, high = (f"{one:{sign}.1f}" for one in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def number(value: float | None, digits: int = 1) -> str:
    """Return a rounded number, or a dash where there is none."""
    return NONE if value is None or value != value else f"{value:.{digits}f}"


# --- Pages -------------------------------------------------------------------------------------


def styled(table: pd.DataFrame, caption: str) -> Styler:
    """Return a readable table as HTML, SparseVLM in bold, the first index level set apart."""
    ours = label("sparsevlm")
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
    first = table.index.get_level_values(0)
    return first[i] != first[i - 1]


def markdown(table: pd.DataFrame) -> str:
    """Return a readable table as Markdown."""
    head = [*table.index.names, *table.columns]
    body = [[*index, *cells] for index, cells in zip(table.index, table.to_numpy(), strict=True)]
    rule = ["---", "---"] + ["---:"] * len(table.columns)
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in [head, rule, *body])


@dataclass(frozen=True)
class Section:
    """A part of a page: a heading, then a table, a paragraph and sentences, where given."""

    heading: str
    table: pd.DataFrame | None = None
    text: str = ""
    sentences: Sequence[str] = ()

    def markdown(self) -> str:
        """The section as Markdown."""
        parts = [f"## {self.heading}"]
        if self.table is not None:
            parts.append(markdown(self.table))
        if self.text:
            parts.append(self.text)
        if self.sentences:
            parts.append("\n".join(f"- {sentence}" for sentence in self.sentences))
        return "\n\n".join(parts)

    def html(self, name: str) -> str:
        """The section as HTML; `name` tells its table from others of the page."""
        if self.table is None:
            parts = [f"<h2>{self.heading}</h2>"]
        else:
            parts = [styled(self.table, self.heading).to_html(table_uuid=name)]
        if self.text:
            parts.append(f"<p>{self.text}</p>")
        if self.sentences:
            items = "".join(f"<li>{sentence}</li>" for sentence in self.sentences)
            parts.append(f"<ul>{items}</ul>")
        return "\n".join(parts)


def report(sections: Sequence[Section]) -> str:
    """Return sections as one Markdown page."""
    return "\n\n".join(section.markdown() for section in sections) + "\n"


def save(
    name: str,
    profile: Profile,
    numbers: pd.DataFrame,
    sections: Sequence[Section],
    folder: str | Path = "figures",
) -> list[Path]:
    """Write NAME.md, NAME.csv and NAME.html, each whole or not at all.

    Parameters
    ----------
    name : str
        The notebook.
    profile : Profile
        What was run.
    numbers : DataFrame
        Unrounded, for the CSV; its columns say what it is of.
    sections : sequence of Section
        The page.
    folder : str or path
        Relative to the repository; a profile other than the miniature gets a folder of its own.
    """
    target = ROOT / folder / ("" if profile.slug == "mini" else profile.slug)
    parts = [section.html(f"part{i}") for i, section in enumerate(sections)]
    heading = name.replace("_", " ").capitalize()
    written = {
        f"{name}.md": report(sections),
        f"{name}.csv": numbers.to_csv(lineterminator="\n"),
        f"{name}.html": f"<!doctype html><meta charset='utf-8'><title>{heading}</title>\n"
        + "\n".join(parts),
    }
    for file, text in written.items():
        write_text(target / file, text)
    return [target / file for file in written]
