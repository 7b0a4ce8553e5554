"""Accuracy against cost as in Figures 8 to 10: SparseVLM, random tokens, the dense model.

The paper draws these figures and prints no number for them. What its tables say of the same models
is drawn in rows of its own, named as published. The cost that is measured here is analytic: the
latency of a small model on a CPU says nothing of a GPU's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from sparsevlm.analysis import drawing, published
from sparsevlm.analysis.report import Report, Section
from sparsevlm.analysis.study import DENSE, DENSE_SETTING, OURS, RANDOM, Results, Setting
from sparsevlm.analysis.tables import ends
from sparsevlm.analysis.words import count_signs, in_words, maybe_chance
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.studies import studies_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Measures of the frame that cost something, with the name of their axis.
COSTS = {
    "FLOPs (%)": "prefill FLOPs (% of dense)",
    "tokens out": "visual tokens left (mean over layers)",
}
PAPER_NAME = {"tgif": "TGIF-QA", "msvd": "MSVD-QA"}


@dataclass(frozen=True)
class PaperRow:
    """A row of panels with numbers of the paper's tables.

    Attributes
    ----------
    item : str
        In data/published.csv.
    cost : str
        The measure on the x axis; "tokens" for the number of visual tokens.
    axis : str
        Name of the x axis.
    where : str
        The table, for the title.
    suffix : str
        What the name of a benchmark's measure ends in.
    """

    item: str
    cost: str
    axis: str
    where: str
    suffix: str = ""

    def points(self, benchmark: str) -> dict[str, list[tuple[float, float]]]:
        """Return the paper's points (cost, score) by method, by rising cost."""
        measure = PAPER_NAME.get(benchmark, BENCHMARKS[benchmark].paper_column) + self.suffix
        found: dict[str, list[tuple[float, float]]] = {}
        for row in published.rows(self.item):
            if row.measure != measure or row.method not in ("Dense", "SparseVLM"):
                continue
            cost = row.visual_tokens
            if self.cost != "tokens":
                cost = published.value(self.item, row.method, cost, self.cost)
            found.setdefault(published.METHOD[row.method], []).append((float(cost), row.value))
        return {method: sorted(points) for method, points in found.items()}


@dataclass(frozen=True)
class TradeOff:
    """What a figure of this kind shows.

    Attributes
    ----------
    name : str
        Of the notebook; `studies.studies_of` names its study.
    benchmarks : tuple of str
        The paper's panels.
    costs : tuple of str
        Rows of measured panels, keys of `COSTS`.
    paper_model : str
        As in data/published.csv.
    paper_rows : tuple of PaperRow
        Rows of published panels.
    """

    name: str
    benchmarks: tuple[str, ...]
    costs: tuple[str, ...]
    paper_model: str
    paper_rows: tuple[PaperRow, ...]

    @cached_property
    def report(self) -> Report:
        """The notebook of the figure."""
        return Report(
            self.name, self.page, self.figure, self.numbers, study=studies_of(self.name)[0],
            has_page=False,
        )  # fmt: skip

    def panels(self, results: Results) -> list[str]:
        """Return the paper's benchmarks that were measured.

        Raises
        ------
        ValueError
            None of them was.
        """
        found = [name for name in self.benchmarks if name in results.profile.benchmarks]
        if not found:
            raise ValueError(
                f"{self.name} is of {', '.join(self.benchmarks)}, and study "
                f"{results.profile.study!r} asks {', '.join(results.profile.benchmarks)}; "
                "name its study under `notebooks` in data/studies.yaml"
            )
        return found

    def numbers(self, results: Results) -> pd.DataFrame:
        """Return what is measured: one row per benchmark and setting, numbers unrounded.

        Returns
        -------
        DataFrame
            Columns: benchmark, method, tokens; score, low, high; SparseVLM minus this row with its
            paired interval where this is random choice; visual tokens in and out; GFLOPs of a
            prefill and their percent of the dense model's.
        """
        rows = []
        for name in self.panels(results):
            for setting in settings(results):
                ahead = None
                if setting[0] == RANDOM:
                    ahead = results.score_difference(name, (OURS, setting[1]), setting)
                costs = ("tokens in", "tokens out", "GFLOPs", "FLOPs (%)")
                rows.append({
                    "benchmark": BENCHMARKS[name].paper_column,
                    "method": setting[0],
                    "tokens": setting[1],
                    **ends("score", results.get("score", setting, name), "score"),
                    **ends("SparseVLM ahead by", ahead, "ahead"),
                    **{kind: results.value(kind, setting) for kind in costs},
                })  # fmt: skip
        return pd.DataFrame(rows)

    def sentences(self, results: Results) -> list[str]:
        """Return SparseVLM against random choice, panel by panel, and what is missing, in words."""
        lines, found = [], []
        for name in self.panels(results):
            for tokens in sorted(results.profile.budgets, reverse=True):
                one = results.score_difference(name, (OURS, tokens), (RANDOM, tokens))
                found.append(one)
                lines.append(
                    f"{BENCHMARKS[name].label} at {tokens} tokens: SparseVLM minus random choice "
                    f"is {in_words(one)}{maybe_chance(one)}."
                )
        lines.append(count_signs(found, "SparseVLM", "random choice"))
        if missing := [n for n in self.benchmarks if n not in self.panels(results)]:
            labels = ", ".join(BENCHMARKS[name].label for name in missing)
            lines.append(
                f"The paper's panel of {labels} is missing: no run of the profile asks it."
            )
        return lines

    def page(self, results: Results) -> list[Section]:
        """Return the comparison with random choice."""
        heading = f"Is SparseVLM above random choice? {results.profile.model}"
        return [
            Section(
                heading,
                text=str(results.judging),
                sentences=self.sentences(results),
            )
        ]

    def figure(self, results: Results) -> Figure:
        """Return a row of panels per cost, and below them a row per kind of published numbers."""
        names, rows = self.panels(results), len(self.costs) + len(self.paper_rows)
        fig, grid = drawing.panels(rows, len(names), 1.75 * rows + 0.35)
        measured, printed = grid[: len(self.costs)], grid[len(self.costs) :]
        for line, cost in zip(measured, self.costs, strict=True):
            for axes, name in zip(line, names, strict=True):
                _draw_measured(axes, results, name, cost)
            judged = results.judging.of(names[0])
            score = f"judged by {judged.model}" if judged else "score"
            line[0].set_ylabel(f"measured:\n{results.profile.model}\n{score}")
        for line, row in zip(printed, self.paper_rows, strict=True):
            for axes, name in zip(line, names, strict=True):
                _draw_published(axes, row, name)
            line[0].set_ylabel(f"published:\n{self.paper_model}\n{row.where}")
        for axes, name in zip(grid[0], names, strict=True):
            axes.set_title(BENCHMARKS[name].label)
        drawing.legend_above(fig, grid[0][0], 3)
        return fig


def settings(results: Results) -> list[Setting]:
    """Return dense, SparseVLM and random tokens, at every budget, fewest first."""
    budgets = sorted(results.profile.budgets)
    return [DENSE_SETTING] + [(method, b) for method in (OURS, RANDOM) for b in budgets]


def _draw_measured(axes: Axes, results: Results, name: str, cost: str) -> None:
    budgets = sorted(results.profile.budgets)
    for method, cap in ((OURS, 1.5), (RANDOM, 3.5)):  # both stand at the same costs
        found = [results.get("score", (method, b), name) for b in budgets]
        at = [results.value(cost, (method, b)) for b in budgets]
        drawing.draw_estimates(axes, at, found, method, capsize=cap)
    dense = (results.value(kind, DENSE_SETTING, on) for kind, on in ((cost, ""), ("score", name)))
    _draw_dense(axes, [tuple(dense)])
    axes.set_xlabel(COSTS[cost])
    axes.grid(axis="y")


def _draw_published(axes: Axes, row: PaperRow, name: str) -> None:
    points = row.points(name)
    axes.set_xlabel(row.axis)
    axes.grid(axis="y")
    if not points:
        axes.text(0.5, 0.5, "no published\nnumber", ha="center", va="center", size=7,
                  color="#777777", transform=axes.transAxes)  # fmt: skip
        axes.set_xticks([])
        axes.set_yticks([])
        return
    axes.plot(*zip(*points[OURS], strict=True), **drawing.line_style(OURS), markerfacecolor="white")
    _draw_dense(axes, points[DENSE])


def _draw_dense(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    (point,) = points
    axes.axhline(point[1], color="black", linewidth=0.8, linestyle=":", zorder=1)
    axes.plot(*point, linestyle="none", **drawing.line_style(DENSE))
    # A difference of zero must not fill the panel.
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.85 * point[1]), max(high, 1.02 * point[1]))
