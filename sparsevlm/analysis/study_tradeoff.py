"""Accuracy against cost, the way of Figures 8 to 10: SparseVLM, random tokens, the dense model.

The paper draws these figures and prints no number for them. What its tables say of the same models
is drawn in rows of its own, named as published. The cost of a miniature is analytic: its latency on
a CPU says nothing of a GPU's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparsevlm.analysis import published, study
from sparsevlm.analysis.study import DENSE_SETTING, Results
from sparsevlm.analysis.study_drawing import draw_estimates, line_style
from sparsevlm.analysis.study_views import ends
from sparsevlm.analysis.study_words import count_signs, in_words, maybe_chance
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.studies import studies_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, RANDOM = "sparsevlm", "random"
METHODS = {"Dense": "dense", "SparseVLM": OURS}  # of the paper's tables
# The cost of a setting here: the name of the axis, and the number.
COSTS = {
    "flops": ("prefill FLOPs (% of dense)", lambda row, dense: 100 * row.flops / dense.flops),
    "tokens": ("visual tokens left (mean over layers)", lambda row, dense: row.tokens_out),
}


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

    def measure(self, profile: Profile | str) -> Results:
        """Return the runs of a profile from finished records; errors as of `study.measure`."""
        return study.measure(profile, studies_of(self.name)[0])

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
                "choose its study in `studies.NOTEBOOK_STUDIES`"
            )
        return found

    def published(self, row: PaperRow, benchmark: str) -> dict[str, list[tuple[float, float]]]:
        """Return the paper's points (cost, score) by method, from the cheapest to the dearest."""
        measure = PAPER_NAME.get(benchmark, BENCHMARKS[benchmark].paper_column) + row.suffix
        rows = published.rows(row.item, model=self.paper_model)
        points: dict[str, list[tuple[float, float]]] = {}
        for scored in (r for r in rows if r.measure == measure and r.method in METHODS):
            cost = scored.visual_tokens
            if row.cost != "tokens":
                cost = published.value(row.item, scored.method, cost, row.cost)
            points.setdefault(METHODS[scored.method], []).append((float(cost), scored.value))
        return {method: sorted(found) for method, found in points.items()}


PAPER_NAME = {"tgif": "TGIF-QA", "msvd": "MSVD-QA"}


def settings(results: Results) -> list[study.Setting]:
    """Return dense, SparseVLM and random tokens, at every budget, fewest first."""
    budgets = sorted(results.profile.budgets)
    return [DENSE_SETTING] + [(method, b) for method in (OURS, RANDOM) for b in budgets]


def frame(figure: TradeOff, results: Results) -> pd.DataFrame:
    """Return what is measured: one row per benchmark and setting, numbers unrounded.

    Returns
    -------
    DataFrame
        Columns: benchmark, method, tokens; score, low, high; SparseVLM minus this row with its
        paired interval where this is random choice; visual tokens in and out; GFLOPs of a prefill
        and their percent of the dense model's.
    """
    import pandas as pd

    dense, rows = results.row(DENSE_SETTING), []
    for name in figure.panels(results):
        for setting in settings(results):
            method, tokens = setting
            row, over = results.row(setting), None
            if method == RANDOM:
                over = results.score_difference(name, (OURS, tokens), setting)
            rows.append(
                {
                    "benchmark": BENCHMARKS[name].paper_column,
                    "method": method,
                    "tokens": tokens,
                    **ends("score", results.score(setting, name), "score"),
                    **ends("SparseVLM ahead by", over, "ahead"),
                    "tokens in": row.tokens_in,
                    "tokens out": row.tokens_out,
                    "GFLOPs": row.flops / 1e9,
                    "FLOPs (%)": 100 * row.flops / dense.flops,
                }
            )
    return pd.DataFrame(rows)


def sentences(figure: TradeOff, results: Results) -> list[str]:
    """Return SparseVLM against random choice, panel by panel, and what is missing, in words."""
    lines, found = [], []
    for name in figure.panels(results):
        unit = BENCHMARKS[name].label
        for tokens in sorted(results.profile.budgets, reverse=True):
            one = results.score_difference(name, (OURS, tokens), (RANDOM, tokens))
            found.append(one)
            lines.append(
                f"{unit} at {tokens} tokens: SparseVLM minus random choice is {in_words(one)}"
                f"{maybe_chance(one)}."
            )
    lines.append(count_signs(found, "SparseVLM", "random choice"))
    if missing := [n for n in figure.benchmarks if n not in figure.panels(results)]:
        labels = ", ".join(BENCHMARKS[name].label for name in missing)
        lines.append(f"The paper's panel of {labels} is missing: no run of the profile asks it.")
    return lines


def draw(figure: TradeOff, results: Results) -> Figure:
    """Return a row of panels per cost, and below them a row per kind of published numbers."""
    import matplotlib.pyplot as plt

    from sparsevlm.analysis.style import figure_size, use_style

    use_style()
    names = figure.panels(results)
    rows = len(figure.costs) + len(figure.paper_rows)
    fig, panels = plt.subplots(
        rows, len(names), figsize=figure_size(2, 1.75 * rows + 0.35), squeeze=False
    )
    for line, cost in zip(panels, figure.costs, strict=False):
        for axes, name in zip(line, names, strict=True):
            _measured(axes, results, name, cost)
        line[0].set_ylabel(f"measured:\n{results.profile.model}\nscore")
    for line, row in zip(panels[len(figure.costs) :], figure.paper_rows, strict=True):
        for axes, name in zip(line, names, strict=True):
            _published(axes, figure, row, name)
        line[0].set_ylabel(f"published:\n{figure.paper_model}\n{row.where}")
    for axes, name in zip(panels[0], names, strict=True):
        axes.set_title(BENCHMARKS[name].label)
    handles, labels = panels[0][0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=3)
    return fig


def _measured(axes: Axes, results: Results, name: str, cost: str) -> None:
    label, read = COSTS[cost]
    dense, budgets = results.row(DENSE_SETTING), sorted(results.profile.budgets)
    for method, cap in ((OURS, 1.5), (RANDOM, 3.5)):  # both stand at the same costs
        found = [results.score((method, b), name) for b in budgets]
        at = [read(results.row((method, b)), dense) for b in budgets]
        draw_estimates(axes, at, found, method, capsize=cap)
    _dense(axes, [(read(dense, dense), results.score(DENSE_SETTING, name).value)])
    axes.set_xlabel(label)
    axes.grid(axis="y")


def _published(axes: Axes, figure: TradeOff, row: PaperRow, name: str) -> None:
    points = figure.published(row, name)
    axes.set_xlabel(row.axis)
    axes.grid(axis="y")
    if not points:
        axes.text(0.5, 0.5, "no published\nnumber", ha="center", va="center", size=7,
                  color="#777777", transform=axes.transAxes)  # fmt: skip
        axes.set_xticks([])
        axes.set_yticks([])
        return
    axes.plot(*zip(*points[OURS], strict=True), **line_style(OURS), markerfacecolor="white")
    _dense(axes, points["dense"])


def _dense(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    (point,) = points
    axes.axhline(point[1], color="black", linewidth=0.8, linestyle=":", zorder=1)
    axes.plot(*point, linestyle="none", **line_style("dense"))
    # A difference of nothing shall not fill the panel.
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.85 * point[1]), max(high, 1.02 * point[1]))
