"""What the records of a profile say of a claim.

Every public function can be named in the column "records" of data/claims.csv. It gets the records
first. A difference of methods comes back as an `Estimate` with its paired interval, a plain value
as a number. Methods and benchmarks are spelled as in `METHODS` and `BENCHMARKS`; the table is
Table 1 unless the last argument names another.

To claim something about another table or figure: what measures it in `MEASURES`, a function here,
rows in data/claims.csv. A figure that computes what it shows has its data beside it (see
`style.save_figure`), which is its record.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean

import numpy as np

from sparsevlm.analysis import statistics
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import Results, Setting
from sparsevlm.benchmarks.loaders.layout import DataError
from sparsevlm.evaluation.judges.prompts import TASKS
from sparsevlm.evaluation.paths import FIGURES, relative
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.models.checkpoints.places import CheckpointError
from sparsevlm.paper.extras import controls, variants
from sparsevlm.paper.figures import figure_5, figure_8, figure_9, figure_10
from sparsevlm.paper.tables import table_1, table_1_v1, table_3, table_4


class NotRunError(RuntimeError):
    """The records that a claim needs are not there; the message says which."""


class NotJudgedError(NotRunError):
    """The paper's number is a judge's, and the answers are not judged."""


@dataclass
class ProfileRecords:
    """The records of one profile, read once and only when a claim asks for them.

    Attributes
    ----------
    profile : str
        Its name.
    measures : mapping of str to callable
        By table: profile name -> results. See `MEASURES`.
    """

    profile: str
    measures: Mapping[str, Callable[[str], object]] = field(repr=False)
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
        reasons = {str(one) for one in self._cache.values() if isinstance(one, NotRunError)}
        return "; ".join(sorted(reasons))

    @property
    def judges(self) -> str:
        """Who judged the open answers of the results that were read; "" for nobody."""
        results = [one for one in self._cache.values() if isinstance(one, Results)]
        judged = {str(j) for one in results for j in one.judging.by_task.values() if j.used}
        return " ".join(sorted(judged))


Rows = list[dict[str, str]]


def drawn(name: str) -> Callable[[str], Rows]:
    """Return what reads the data of a figure of a profile, as rows of text."""

    def read(profile: str) -> Rows:
        get_profile(profile).require_runnable()
        path = (FIGURES if profile == "mini" else FIGURES / profile) / f"{name}.data.csv"
        try:
            with path.open(newline="", encoding="utf-8") as file:
                return list(csv.DictReader(file))
        except FileNotFoundError:
            raise FileNotFoundError(f"{relative(path)} is not there") from None

    return read


MEASURES: dict[str, Callable[[str], object]] = {
    **{
        module.REPORT.name: partial(module.REPORT.measure, run_missing=False)
        for module in (
            table_1, table_1_v1, table_3, table_4, figure_5, figure_8, figure_9, figure_10,
            variants, controls,
        )
    },
    "figure_1": drawn("figure_1"),
    "figure_7": drawn("figure_7"),
}  # fmt: skip
TABLE_1 = "table_1"


def _results(found: ProfileRecords, table: str, *settings: Setting) -> Results:
    """A table, if it has these methods at these budgets."""
    results = found.results(table)
    for method, tokens in settings:
        if (method, tokens) not in results.relative:
            budget = "" if tokens is None else f" at {tokens} tokens"
            raise NotRunError(f"profile {found.profile!r} does not run {method}{budget}")
    return results


def _comparable(found: ProfileRecords, table: str, benchmark: str, *settings: Setting) -> Results:
    """A table, if its scores of a benchmark may stand beside the paper's: a judge's by a judge's.

    Those of a miniature are not compared with the paper's, so matches will do.
    """
    results = _results(found, table, *settings)
    if benchmark in TASKS and found.profile != "mini" and not results.judging.of(benchmark):
        raise NotJudgedError(str(results.judging))
    return results


def judged_accuracy(
    found: ProfileRecords, method: str, tokens: int | None, benchmark: str
) -> float:
    """The judge's accuracy in Table 3, in percent; of benchmark "", the average."""
    return _of_judge(found, (method, tokens), benchmark, "score", "mean score")


def judged_score(found: ProfileRecords, method: str, tokens: int | None, benchmark: str) -> float:
    """The judge's mean score in Table 3, 0 to 5; of benchmark "", the average."""
    return _of_judge(found, (method, tokens), benchmark, "judge score", "mean judge score")


def _of_judge(
    found: ProfileRecords, setting: Setting, benchmark: str, one: str, mean: str
) -> float:
    if found.profile == "mini":
        raise NotJudgedError("a miniature's answers are not judged")
    results = _comparable(found, "table_3", benchmark or "tgif", setting)
    return results.value(one if benchmark else mean, setting, benchmark)


def lead(
    found: ProfileRecords, first: str, second: str, tokens: int, table: str = TABLE_1
) -> Estimate:
    """Relative accuracy of the first method minus that of the second, in points, paired."""
    settings = (first, tokens), (second, tokens)
    return _results(found, table, *settings).difference(*settings)


def lead_growth(found: ProfileRecords, first: str, second: str, many: int, few: int) -> Estimate:
    """The lead at few tokens minus the lead at many, in points, paired."""
    ends = {}
    for tokens in (many, few):
        settings = (first, tokens), (second, tokens)
        relative = _results(found, TABLE_1, *settings).relative
        ends[tokens] = relative[settings[0]] - relative[settings[1]]
    return statistics.estimate(ends[few] - ends[many])


def accuracy(found: ProfileRecords, method: str, tokens: int | None, table: str = TABLE_1) -> float:
    """Relative accuracy, in percent."""
    setting = (method, tokens)
    percent = _results(found, table, setting).value("relative accuracy", setting)
    if percent != percent:
        raise NotRunError(f"the dense model of {found.profile!r} scores 0 on a benchmark")
    return percent


def loss(found: ProfileRecords, method: str, tokens: int) -> float:
    """100 minus the relative accuracy, in points."""
    return 100 - accuracy(found, method, tokens)


def score(
    found: ProfileRecords, method: str, tokens: int | None, benchmark: str, table: str = TABLE_1
) -> float:
    """The score of one benchmark, in the unit of the paper's column."""
    setting = (method, tokens)
    return _comparable(found, table, benchmark, setting).value("score", setting, benchmark)


def mean_score(found: ProfileRecords, method: str, benchmark: str, table: str) -> float:
    """The mean of a score over the budgets of a table."""
    budgets = found.results(table).profile.budgets
    return fmean(score(found, method, tokens, benchmark, table) for tokens in budgets)


def percent_of_dense(found: ProfileRecords, method: str, tokens: int, benchmark: str) -> float:
    """The score of one benchmark in percent of the dense model's."""
    setting = (method, tokens)
    percent = _comparable(found, TABLE_1, benchmark, setting).value("percent", setting, benchmark)
    if percent != percent:
        raise NotRunError(f"the dense model of {found.profile!r} scores 0 on {benchmark}")
    return percent


def benchmark_lead(
    found: ProfileRecords,
    benchmark: str,
    first: str,
    second: str,
    tokens: int,
    table: str = TABLE_1,
) -> Estimate:
    """The score of the first method minus that of the second, paired."""
    settings = (first, tokens), (second, tokens)
    return _comparable(found, table, benchmark, *settings).score_difference(benchmark, *settings)


def focus_lead(found: ProfileRecords, first: str, second: str) -> Estimate:
    """How much more of what is left shows what is asked for (Figure 1), in percentage points.

    The ends are those of the two intervals at their worst, which is wider than a paired interval.
    """
    rows = {row["method"]: row for row in found.results("figure_1")}
    ours, other = (
        {key: float(rows[name][key]) for key in ("mean", "low", "high")} for name in (first, second)
    )
    return Estimate(
        ours["mean"] - other["mean"], ours["low"] - other["high"], ours["high"] - other["low"]
    )


def redundancy_gap(found: ProfileRecords) -> Estimate:
    """Share of words minus share of patches that hold 90 % of the attention (Figure 7), in points.

    The interval is a bootstrap over the questions.
    """
    rows = found.results("figure_7")
    gaps = np.array([float(row["holders, words"]) - float(row["holders, image"]) for row in rows])
    drawn_again = np.random.default_rng(statistics.SEED).choice(
        gaps, size=(statistics.RESAMPLES, len(gaps))
    )
    return statistics.estimate(100 * np.concatenate([[gaps.mean()], drawn_again.mean(axis=1)]))
