"""Pages of a study: sections of tables and sentences, shown in a notebook and written to files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import markupsafe
import pandas as pd
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from sparsevlm.analysis import study, tables
from sparsevlm.analysis.study import OURS, PaperNumbers, Results
from sparsevlm.analysis.style import OUTPUT, folder_of, save_figure
from sparsevlm.analysis.words import label
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.results.atomic import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas.io.formats.style import Styler

TEMPLATES = Path(__file__).with_name("templates")


@cache
def templates(folder: Path = TEMPLATES) -> Environment:
    """Return the jinja2 templates of a folder; what goes into HTML is escaped."""
    known = Environment(
        loader=FileSystemLoader(folder), trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=select_autoescape(("html.j2",), default=False),
    )  # fmt: skip
    known.filters["inline"] = _inline
    return known


def _inline(markdown: str) -> Markup:
    """Bold, emphasis and code of a paragraph as HTML; of a link its text."""
    text = str(markupsafe.escape(" ".join(markdown.split())))
    text = re.sub(r"\[([^]]+)\]\(([^)]+)\)", r"\1", text)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)
    return Markup(re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text))


@dataclass(frozen=True)
class Section:
    """A part of a page: a heading, then a table, a paragraph and sentences, where given."""

    heading: str
    table: pd.DataFrame | None = None
    text: str = ""
    sentences: Sequence[str] = ()

    @property
    def lines(self) -> list[list[str]]:
        """The table as lines of Markdown: head, rule, rows."""
        head = [*self.table.index.names, *self.table.columns]
        rows = [[*i, *v] for i, v in zip(self.table.index, self.table.to_numpy(), strict=True)]
        return [head, ["---"] * 2 + ["---:"] * len(self.table.columns), *rows]

    @property
    def latex(self) -> str:
        """The table for LaTeX with booktabs, heading and text above it as comments."""
        said = "".join(
            f"% {line}\n" for line in f"{self.heading}\n{self.text}".splitlines() if line
        )
        aligned = "l" * self.table.index.nlevels + "r" * len(self.table.columns)
        rows = self.table.reset_index()
        repeated = rows[rows.columns[0]].eq(rows[rows.columns[0]].shift())
        rows[rows.columns[0]] = rows[rows.columns[0]].mask(repeated, "")
        return said + rows.to_latex(index=False, escape=True, column_format=aligned)

    @property
    def styled(self) -> Styler:
        """The table with the heading as caption, SparseVLM in bold, budgets set apart."""
        firsts = self.table.index.get_level_values(0)
        rules = [
            {"selector": f"tbody tr:nth-child({i + 1}) td, tbody tr:nth-child({i + 1}) th",
             "props": "border-top: 1px solid #999"}
            for i in range(1, len(firsts)) if firsts[i] != firsts[i - 1]
        ]  # fmt: skip
        base = [
            {"selector": "caption", "props": "font-weight: bold; text-align: left; padding: 4px 0"},
            {"selector": "td, th",
             "props": "text-align: right; padding: 2px 8px; white-space: nowrap"},
            {"selector": "th.row_heading", "props": "text-align: left; vertical-align: top"},
        ]  # fmt: skip

        def bold(row: pd.Series) -> list[str]:
            return ["font-weight: bold" if row.name[1] == label(OURS) else ""] * len(row)

        style = self.table.style.set_caption(escape(self.heading, quote=False))
        return style.apply(bold, axis=1).set_table_styles(base + rules)

    def _repr_html_(self) -> str:
        return templates().get_template("section.html.j2").render(section=self, name=None)


def markdown(sections: Sequence[Section]) -> str:
    """Return sections as one Markdown page."""
    return templates().get_template("page.md.j2").render(sections=sections)


def write(
    name: str,
    profile: Profile,
    numbers: pd.DataFrame,
    sections: Sequence[Section],
    folder: str | Path = "figures",
) -> list[Path]:
    """Write NAME.md, NAME.csv, NAME.html and NAME.tex, or those in `OUTPUT`, each atomically.

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
        Relative to the repository; every profile has a folder of its own in it.
    """
    target = folder_of(profile, folder)
    page = templates().get_template("page.html.j2")
    title = name.replace("_", " ").capitalize()
    written = {
        "md": markdown(sections),
        "csv": numbers.to_csv(lineterminator="\n"),
        "html": page.render(sections=sections, title=title),
        "tex": "\n".join(section.latex for section in sections if section.table is not None),
    }
    files = {target / f"{name}.{kind}": written[kind] for kind in written if kind in OUTPUT.formats}
    for file, text in files.items():
        write_text(file, text)
    return list(files)


@dataclass(frozen=True)
class Report:
    """A notebook that is made of one study: what it shows, draws and writes.

    Attributes
    ----------
    name : str
        Of the notebook and its files.
    page : results -> list of Section
        What it shows, in the order of the page.
    figure : results -> Figure
    numbers : results -> DataFrame
        Unrounded, for the CSV.
    data : results -> DataFrame, optional
        What the figure plots; `numbers` where not given.
    study : str
        Name in `data/studies.yaml`; by default that of the notebook.
    paper : mapping
        The paper's numbers by (method, tokens) and measure.
    ours : str
        The method whose lead over the others is shown.
    has_page : bool
        Whether the page is written beside the figure.
    """

    name: str
    page: Callable[[Results], list[Section]]
    figure: Callable[[Results], Figure]
    numbers: Callable[[Results], pd.DataFrame] = tables.numbers
    data: Callable[[Results], pd.DataFrame] | None = None
    study: str = ""
    paper: PaperNumbers | None = None
    ours: str = OURS
    has_page: bool = True

    def measure(self, profile: Profile | str, run_missing: bool = True, judge: str = "") -> Results:
        """Return the study of a profile; arguments and errors as of `study.measure`."""
        name = self.study or self.name
        return study.measure(profile, name, self.ours, self.paper, run_missing, judge)

    def save(self, results: Results, folder: str | Path = "figures", name: str = "") -> list[Path]:
        """Draw the figure and write it with its data, then the page and its numbers.

        Parameters
        ----------
        results : Results
            From `measure`.
        folder : str or path
            Relative to the repository; every profile has a folder of its own in it.
        name : str
            Of the files; by default that of the notebook.
        """
        data = (self.data or self.numbers)(results)
        files = save_figure(
            self.figure(results), name or self.name, results.profile, results.ids, folder, data
        )  # fmt: skip
        return files + self.write(results, folder, name) if self.has_page else files

    def write(self, results: Results, folder: str | Path = "figures", name: str = "") -> list[Path]:
        """Write the page and its numbers; arguments as of `save`."""
        table = self.numbers(results)
        table.insert(0, "model", title(results))
        return write(name or self.name, results.profile, table, self.page(results), folder)


def title(results: Results) -> str:
    """Return what a measured table is of, so that no miniature is taken for the real model."""
    marker = f" ({results.profile.marker})" if results.profile.marker else ""
    sizes = {record.run.num_samples for record in results.records.values()}
    questions = tables.NONE.join(str(n) for n in sorted({min(sizes), max(sizes)}))
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
    extra += f" {judges}" if (judges := str(results.judging)) else ""
    return (
        "Budgets are the mean over layers of the visual tokens left by each layer (tokens out), as "
        "in the paper; what is computed is the mean entering each layer (tokens in). Acc. is the "
        "mean of the percentages of the dense scores. Brackets are 95 % intervals from a paired "
        "bootstrap over questions, not corrected for the number of comparisons. FLOPs are counted "
        f"by the paper's formula.{extra}{made_at(results)}"
    )


def measured(results: Results) -> Section:
    """Return the measured table of settings in its default columns, and how to read it."""
    return Section(title(results), tables.readable(results), notes(results))
