"""Accuracy against cost as in Figures 8 to 10: SparseVLM, random tokens, the dense model.

The paper draws these figures and prints no number for them. What its tables say of the same models
stands in the same panels, hollow. The cost that is measured here is analytic: the latency of a
small model on a CPU says nothing of a GPU's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsevlm.analysis import drawing, published
from sparsevlm.analysis.report import Report, Section
from sparsevlm.analysis.study import DENSE, DENSE_SETTING, OURS, RANDOM, Results, Setting
from sparsevlm.analysis.tables import ends, grid, interval
from sparsevlm.analysis.words import count_signs
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.studies import studies_of
from sparsevlm.paper.extras.efficiency import first_tokens

PAPER_NAME = {"tgif": "TGIF-QA", "msvd": "MSVD-QA"}
LATENCY = "latency_ms"


@dataclass(frozen=True)
class TradeOff:
    """What a figure of this kind shows: its notebook, and the benchmarks of the paper's panels.

    Attributes
    ----------
    paper_model, item : str
        As in data/published.csv, where the item holds the published points.
    where : str
        What readers call it.
    suffix : str
        What the name of a benchmark's measure ends in.
    has_latency : bool
        Whether `item` holds latencies; they get a panel of their own.
    """

    name: str
    benchmarks: tuple[str, ...]
    paper_model: str
    item: str
    where: str
    suffix: str = ""
    has_latency: bool = False

    @cached_property
    def report(self) -> Report:
        """The notebook of the figure."""
        return Report(
            self.name, self.page, self.figure, self.numbers, study=studies_of(self.name)[0],
            has_page=False,
        )  # fmt: skip

    def points(self, benchmark: str) -> dict[int, float]:
        """Return the paper's SparseVLM by visual tokens, in percent of its dense score."""
        measure = PAPER_NAME.get(benchmark, BENCHMARKS[benchmark].paper_column) + self.suffix
        found = {
            (published.METHOD.get(row.method), row.visual_tokens): row.value
            for row in published.rows(self.item)
            if row.measure == measure
        }
        dense = next((value for (method, _), value in found.items() if method == DENSE), None)
        ours = sorted((key[1], value) for key, value in found.items() if key[0] == OURS)
        return {tokens: 100 * value / dense for tokens, value in ours}

    def latencies(self) -> dict[int, tuple[float, float]]:
        """Return by visual tokens the paper's latency, and the mean of `points`."""
        every = [points for name in self.benchmarks if (points := self.points(name))]
        return {
            tokens: (
                published.value(self.item, "SparseVLM", tokens, LATENCY),
                fmean(points[tokens] for points in every),
            )
            for tokens in sorted(every[0])
        }

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

        Score, low, high, and in percent of the dense one; SparseVLM minus this row with its paired
        interval where this is random choice; visual tokens in and out; GFLOPs of a prefill and
        their percent of the dense model's; the published percent.
        """
        rows = []
        for name in self.panels(results):
            paper = self.points(name)
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
                    **ends("% of dense", results.get("percent", setting, name), "%"),
                    **ends("SparseVLM ahead by", ahead, "ahead"),
                    **{kind: results.value(kind, setting) for kind in costs},
                    "published % of dense": paper.get(setting[1]) if setting[0] == OURS else None,
                })  # fmt: skip
        return pd.DataFrame(rows)

    def page(self, results: Results) -> list[Section]:
        """Return SparseVLM against random choice panel by panel, and what is missing in words."""
        names, budgets = self.panels(results), results.profile.budgets
        found = {
            (name, tokens): results.score_difference(name, (OURS, tokens), (RANDOM, tokens))
            for name in names for tokens in budgets
        }  # fmt: skip
        cells = {
            (BENCHMARKS[name].label, "SparseVLM minus random", tokens): interval(one, "+")
            for (name, tokens), one in found.items()
        }
        lines = [count_signs(list(found.values()), "SparseVLM", "random choice")]
        if missing := [BENCHMARKS[name].label for name in self.benchmarks if name not in names]:
            lines.append(f"The paper's panel of {', '.join(missing)} is missing: no run of the "
                         "profile asks it.")  # fmt: skip
        return [Section(
            f"Is SparseVLM above random choice? {results.profile.model}",
            grid(cells, ("benchmark", "score"), budgets), str(results.judging), lines,
        )]  # fmt: skip

    def figure(self, results: Results) -> Figure:
        """Return percent of the dense score by visual tokens and FLOPs; latency where known."""
        names = self.panels(results)
        fig, (row,) = drawing.panels(1, len(names) + self.has_latency, 2.5, sharey=True)
        for axes, name in zip(row, names, strict=False):
            self._draw_panel(axes, results, name)
        if self.has_latency:
            _draw_latency(row[-1], self.latencies())
            self._draw_own_latency(row[-1], results, names)
        drawing.y_label(row, "% of the dense score")
        judged = results.judging.of(names[0])
        by = f", judged by {judged.model}" if judged else ""
        title = drawing.measured_title(results.profile) + by
        drawing.legend_above(fig, [row[0]], 4, title)
        return fig

    def _draw_own_latency(self, axes: Axes, results: Results, names: Sequence[str]) -> None:
        """Add what a GPU took, where the answers are of the model that was timed."""
        found = first_tokens("llava-1.5-7b")
        if found.empty or not results.profile.model.endswith("llava-1.5-7b-hf"):
            return
        for row in found[found.method == OURS].itertuples():
            setting = OURS, int(row.tokens)
            if setting in settings(results):
                percent = fmean(results.get("percent", setting, name).value for name in names)
                axes.plot(row.ms, percent, linestyle="none", **drawing.line_style(OURS))
        axes.set_title("mean: hollow as published,\n" + found.device.iloc[0], size=6)
        axes.set_xlabel("latency (ms)")

    def _draw_panel(self, axes: Axes, results: Results, name: str) -> None:
        budgets = sorted(results.profile.budgets)
        drawing.draw_methods(
            axes, (RANDOM, OURS), budgets, lambda m, b: results.get("percent", (m, b), name),
            step=0.05,
        )  # fmt: skip
        paper = self.points(name)
        drawing.draw_published(axes, paper, f"SparseVLM, {self.paper_model}, {self.where}")
        whole = round(results.value("tokens out", DENSE_SETTING))
        drawing.level_line(axes, 100)
        axes.plot(whole, 100, linestyle="none", **drawing.line_style(DENSE))
        drawing.tokens_axis(axes, [*budgets, whole], "visual tokens")
        ticks = drawing.apart(axes, [*budgets, whole])
        axes.set_xticks(ticks, list(map(str, ticks)))
        settings = [(OURS, tick) if tick in budgets else DENSE_SETTING for tick in ticks]
        costs = [f"{results.value('FLOPs (%)', setting):.0f}" for setting in settings]
        top = axes.secondary_xaxis("top")
        top.set_xticks(ticks, costs)
        top.tick_params(which="both", length=0, pad=1, labelsize=6, colors="#666666")
        top.minorticks_off()
        top.spines["top"].set_visible(False)
        top.set_xlabel("prefill FLOPs (% of dense)", size=6, color="#666666", labelpad=2)
        axes.set_title(BENCHMARKS[name].label)
        if why := drawing.why_no_percent(results, [name]):
            drawing.say_empty(axes, why)
        elif not paper:
            axes.text(0.97, 0.04, "no published number", ha="right", size=6, color="#666666",
                      transform=axes.transAxes)  # fmt: skip


def settings(results: Results) -> list[Setting]:
    """Return dense, SparseVLM and random tokens, at every budget, fewest first."""
    budgets = sorted(results.profile.budgets)
    return [DENSE_SETTING] + [(method, b) for method in (OURS, RANDOM) for b in budgets]


def _draw_latency(axes: Axes, points: dict[int, tuple[float, float]]) -> None:
    drawing.draw_published(axes, dict(points.values()))
    for tokens, (latency, percent) in points.items():
        axes.annotate(str(tokens), (latency, percent), (4, -3), textcoords="offset points",
                      va="top", size=6)  # fmt: skip
    drawing.level_line(axes, 100)
    axes.set_title("mean, as published")
    axes.set_xlabel("latency on an A100 (ms)")
    axes.margins(x=0.2)
    axes.grid(axis="y")
