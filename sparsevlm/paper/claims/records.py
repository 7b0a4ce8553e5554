"""What the records of a profile say of a claim.

The column "records" of data/claims.csv is made of the public methods of `Queries`. A difference of
methods comes back resample by resample, so that it can be computed with; a plain value as a
number. Methods and benchmarks are spelled as in `METHODS` and `BENCHMARKS`; the table is Table 1
unless the last argument names another.

To claim something about another table or figure: what measures it in `MEASURES`, a method here,
rows in data/claims.csv. A figure that computes what it shows has its data beside it (see
`style.save_figure`), which is its record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean

import numpy as np
import pandas as pd

from sparsevlm.analysis import statistics
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import DENSE_SETTING, Results, Setting
from sparsevlm.benchmarks.loaders.layout import DataError
from sparsevlm.evaluation.backends import backend_of
from sparsevlm.evaluation.judges.prompts import TASKS
from sparsevlm.evaluation.paths import FIGURES, relative
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.models.checkpoints.places import CheckpointError
from sparsevlm.paper.figures import figure_4, figure_5, figure_9, figure_10
from sparsevlm.paper.tables import table_1, table_1_v1, table_2, table_3, table_4

TABLE_1 = "table_1"


class NotRunError(RuntimeError):
    """The records that a claim needs are not there; the message says which."""


class NotJudgedError(NotRunError):
    """The paper's number is a judge's, and the answers are not judged."""


def _drawn(name: str, profile: str) -> pd.DataFrame:
    """The data of a figure of a profile."""
    get_profile(profile).require_runnable()
    path = FIGURES / profile / f"{name}.data.csv"
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{relative(path)} is not there") from None


# By table: profile name -> results.
MEASURES: dict[str, Callable[[str], object]] = {
    **{
        module.REPORT.name: partial(module.REPORT.measure, run_missing=False)
        for module in (
            table_1, table_1_v1, table_2, table_3, table_4, figure_4, figure_5, figure_9, figure_10,
        )
    },
    **{name: partial(_drawn, name) for name in ("figure_1", "figure_7")},
}  # fmt: skip


@dataclass
class ProfileRecords:
    """The records of one profile, read once and only when a claim asks for them.

    `note` says which benchmarks, of those that the last claim asked for, are there in part only.
    """

    profile: str
    measures: Mapping[str, Callable[[str], object]] = field(repr=False)
    note: str = ""
    _cache: dict = field(default_factory=dict, repr=False)

    def results(self, table: str) -> object:
        """Return the results of a table, or raise `NotRunError` saying why there are none."""
        if table not in self._cache:
            try:
                self._cache[table] = self.measures[table](self.profile)
            except (FileNotFoundError, NotImplementedError) as error:
                self._cache[table] = NotRunError(str(error))
            except (CheckpointError, DataError):
                # Their sentences name folders of this machine, which a committed page must not.
                self._cache[table] = NotRunError(
                    f"no checkpoints or data of {self.profile} here; see docs/a100.md"
                )
        found = self._cache[table]
        if isinstance(found, NotRunError):
            raise found
        return found

    @property
    def missing(self) -> str:
        """Why results could not be read; "" where all that was asked for is there."""
        lacking = {name: one for name, one in self._cache.items() if isinstance(one, NotRunError)}
        if len(reasons := list(dict.fromkeys(map(str, lacking.values())))) < 2:
            return "".join(reasons)
        return f"results of {', '.join(lacking)} are not whole; of the first: {reasons[0]}"

    @property
    def judges(self) -> str:
        """Who judged the open answers of the results that were read; "" for nobody."""
        results = [one for one in self._cache.values() if isinstance(one, Results)]
        judged = {str(one.judging) for one in results if one.judging.used}
        return " ".join(sorted(judged))


@dataclass(frozen=True)
class Queries:
    """What a claim can ask of the records of a profile."""

    found: ProfileRecords

    def _table(self, table: str, *settings: Setting, benchmark: str = "") -> Results:
        """A table, if it has these methods at these budgets, to stand beside the paper's.

        Of a benchmark that a judge scores in the paper, only judged scores do; those of a
        miniature are not compared with the paper's, so matches will do.
        """
        found = self.found
        results = found.results(table)
        asked = [benchmark] if benchmark else results.profile.benchmarks
        found.note = backend_of(results.profile.model).note(asked)
        for method, tokens in settings:
            if (method, tokens) not in results.relative:
                budget = "" if tokens is None else f" at {tokens} tokens"
                raise NotRunError(f"profile {found.profile!r} does not run {method}{budget}")
        if benchmark in TASKS and found.profile != "mini" and not results.judging.of(benchmark):
            raise NotJudgedError(str(results.judging))
        return results

    def _percent(self, table: str, measure: str, setting: Setting, benchmark: str = "") -> float:
        percent = self._table(table, setting, benchmark=benchmark).value(
            measure, setting, benchmark
        )
        if percent != percent:
            where = benchmark or "a benchmark"
            raise NotRunError(f"the dense model of {self.found.profile!r} scores 0 on {where}")
        return percent

    def judged(self, measure: str, method: str, tokens: int | None, benchmark: str) -> float:
        """The judge's "score" (accuracy, in percent) or "judge score" (0 to 5) in Table 3.

        Of benchmark "", the average.
        """
        if self.found.profile == "mini":
            raise NotJudgedError("a miniature's answers are not judged")
        setting = method, tokens
        results = self._table("table_3", setting, benchmark=benchmark or "tgif")
        if benchmark:
            return results.value(measure, setting, benchmark)
        return self._table("table_3").value(f"mean {measure}", setting)  # all of them

    def lead(self, first: str, second: str, tokens: int, table: str = TABLE_1) -> np.ndarray:
        """Relative accuracy of the first method minus that of the second, in points, paired."""
        settings = (first, tokens), (second, tokens)
        ours, other = map(self._table(table, *settings).relative.get, settings)
        return ours - other

    def benchmark_lead(
        self, benchmark: str, first: str, second: str, tokens: int, table: str = TABLE_1
    ) -> np.ndarray:
        """The score of the first method minus that of the second, paired; of benchmark "", the
        mean over those of the table."""
        settings = (first, tokens), (second, tokens)
        results = self._table(table, *settings, benchmark=benchmark)
        names = [benchmark] if benchmark else results.profile.benchmarks
        ours, other = (
            np.mean([results.scores[(*one, name)] for name in names], axis=0) for one in settings
        )
        return ours - other

    def accuracy(self, method: str, tokens: int | None, table: str = TABLE_1) -> float:
        """Relative accuracy, in percent."""
        return self._percent(table, "relative accuracy", (method, tokens))

    def percent_of_dense(self, method: str, tokens: int, benchmark: str) -> float:
        """The score of one benchmark in percent of the dense model's."""
        return self._percent(TABLE_1, "percent", (method, tokens), benchmark)

    def average_score(self, method: str, tokens: int | None, table: str) -> float:
        """The mean of the scores over the benchmarks of a table."""
        return self._table(table, (method, tokens)).value("mean score", (method, tokens))

    def score(self, method: str, tokens: int | None, benchmark: str, table: str = TABLE_1) -> float:
        """The score of one benchmark, in the unit of the paper's column."""
        setting = method, tokens
        return self._table(table, setting, benchmark=benchmark).value("score", setting, benchmark)

    def mean_score(self, method: str, benchmark: str, table: str) -> float:
        """The mean of a score over the budgets of a table."""
        budgets = self.found.results(table).profile.budgets
        return fmean(self.score(method, tokens, benchmark, table) for tokens in budgets)

    def budgets_above(self, first: str, second: str, benchmark: str, table: str) -> int:
        """At how many budgets of a table the first method scores higher."""
        budgets = self.found.results(table).profile.budgets
        pairs = [
            [self.score(method, tokens, benchmark, table) for method in (first, second)]
            for tokens in budgets
        ]
        return sum(ours > other for ours, other in pairs)

    def visual_tokens(self, benchmark: str, table: str) -> float:
        """The mean number of visual tokens of a benchmark's images, before any is pruned."""
        results = self._table(table, DENSE_SETTING, benchmark=benchmark)
        rows = results.records[(*DENSE_SETTING, benchmark)].predictions
        return fmean(row["tokens_in"][0] for row in rows)

    def focus_lead(self, first: str, second: str) -> Estimate:
        """How much more of what is left shows what is asked for (Figure 1), in percentage points.

        The ends are those of the two intervals at their worst, which is wider than a paired one.
        """
        rows = self.found.results("figure_1").set_index("method")
        if not {first, second} <= set(rows.index):
            raise NotRunError(
                f"in the images of {self.found.profile!r} nobody marked what is asked for"
            )
        ours, other = rows.loc[first], rows.loc[second]
        ends = ("mean", "mean"), ("low", "high"), ("high", "low")
        return Estimate(*(float(ours[one] - other[another]) for one, another in ends))

    def redundancy_gap(self) -> np.ndarray:
        """Share of words minus share of patches that hold 90 % of the attention (Figure 7), in
        points; resampled over the questions."""
        rows = self.found.results("figure_7")
        gaps = (rows["holders, words"] - rows["holders, image"]).to_numpy()
        drawn_again = np.random.default_rng(statistics.SEED).choice(
            gaps, size=(statistics.RESAMPLES, len(gaps))
        )
        return 100 * np.concatenate([[gaps.mean()], drawn_again.mean(axis=1)])
