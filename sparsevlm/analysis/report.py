"""Pages of a study: sections of tables and sentences, shown in a notebook and written to files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import markupsafe
import pandas as pd
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup
from matplotlib.figure import Figure

from sparsevlm.analysis import study, tables
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import OURS, PaperNumbers, Results
from sparsevlm.analysis.style import OUTPUT, folder_of, save_figure
from sparsevlm.analysis.words import cell, label
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.models.atomic import write_text

TEMPLATES = Path(__file__).with_name("templates")


@cache
def templates(folder: Path = TEMPLATES) -> Environment:
    """Return the jinja2 templates of a folder; what goes into HTML is escaped."""
    known = Environment(
        loader=FileSystemLoader(folder), trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=select_autoescape(("html.j2",), default=False),
    )  # fmt: skip
    known.filters["inline"] = _inline
    known.globals["ours"] = label(OURS)
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

    def _repr_html_(self) -> str:
        return templates().get_template("section.html.j2").render(section=self, name=None)


def markdown(sections: Sequence[Section]) -> str:
    """Return sections as one Markdown page."""
    return templates().get_template("page.md.j2").render(sections=sections)


@dataclass(frozen=True)
class Report:
    """A notebook that is made of one study: what it shows, draws and writes.

    Attributes
    ----------
    page : results -> list of Section
        What it shows, in the order of the page.
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

        The folder is relative to the repository; every profile has one of its own in it. The files
        are named after the notebook unless a name is given.
        """
        data = (self.data or self.numbers)(results)
        files = save_figure(
            self.figure(results), name or self.name, results.profile, results.ids, folder, data
        )  # fmt: skip
        return files + self.write(results, folder, name) if self.has_page else files

    def write(self, results: Results, folder: str | Path = "figures", name: str = "") -> list[Path]:
        """Write the page and its numbers, atomically: NAME.md, NAME.csv, NAME.html and NAME.tex.

        Or those of them in `OUTPUT`. Arguments as of `save`.
        """
        name, sections, table = name or self.name, self.page(results), self.numbers(results)
        table.insert(0, "model", title(results))
        heading = name.replace("_", " ").capitalize()
        page = templates().get_template("page.html.j2")
        written = {
            "md": markdown(sections),
            "csv": table.to_csv(lineterminator="\n"),
            "html": page.render(sections=sections, title=heading),
            "tex": "\n".join(one.latex for one in sections if one.table is not None),
        }
        target = folder_of(results.profile, folder)
        files = {target / f"{name}.{kind}": written[kind] for kind in written
                 if kind in OUTPUT.formats}  # fmt: skip
        for file, text in files.items():
            write_text(file, text)
        return list(files)


def title(results: Results) -> str:
    """Return what a measured table is of, so that no miniature is taken for the real model."""
    marker = f" ({results.profile.marker})" if results.profile.marker else ""
    sizes = {record.run.num_samples for record in results.records.values()}
    questions = tables.NONE.join(str(n) for n in sorted({min(sizes), max(sizes)}))
    return f"{results.profile.model}{marker}, {questions} questions per benchmark"


def notes(results: Results, name: str = "settings", **known: object) -> str:
    """Return how to read a measured table: the text of `templates/notes/NAME.md.j2`.

    By default it is that of a table of settings in its default columns; `known` is what else it
    says.
    """
    mme = (r.scores["best"] for key, r in results.records.items() if key[2] == "mme")
    commits = {s["commit"] for r in results.records.values() for s in r.sessions if s.get("commit")}
    about = {
        "judging": str(results.judging), "mme_best": next(mme, None),
        "commits": ", ".join(sorted(commit[:12] for commit in commits)),
    }  # fmt: skip
    template = templates().get_template(f"notes/{name}.md.j2")
    return " ".join(template.render(about | known).split())


def measured(results: Results) -> Section:
    """Return the measured table of settings in its default columns, and how to read it."""
    return Section(title(results), tables.readable(results), notes(results))


def comparison(
    heading: str,
    found: Mapping[tuple[str, str, object], Estimate],
    paper: Mapping[tuple[str, str, object], float] | None = None,
    names: tuple[str, str] = ("method", "minus"),
    text: str = "",
) -> Section:
    """Return differences as a grid: each with its interval and what it tells.

    Parameters
    ----------
    found : mapping by (first, second, column) of Estimate
        Paired, in points; a difference of two methods or scores is a row, a budget mostly a column.
    paper : mapping by the same keys of float
        The paper's differences, not zero. They stand in rows of their own, and the measured ones
        agree with them in sign, contradict them, or cannot tell.
    names : (str, str)
        Of the first two.
    """
    cells: dict[tuple[str, str, object], str] = {}
    for (first, second, column), one in found.items():
        told = ("ahead", "behind")
        if printed := (paper or {}).get((first, second, column)):
            told = ("agrees", "contradicts")[:: 1 if printed > 0 else -1]
            cells[first, f"{second}, in the paper", column] = f"{printed:+.1f}"
        cells[first, second, column] = cell(one, told, interval=True)
    columns = list(dict.fromkeys(column for *_, column in found))
    how = "Points, with paired 95 % intervals; it is told where zero lies outside."
    return Section(heading, tables.grid(cells, names, columns), f"{how} {text}".strip())
