"""What the records of a profile say of a claim.

Every public function can be named in the column "records" of data/claims.csv. It gets the records
first. A difference of methods comes back as an `Estimate` with its paired interval, a plain value
as a number. Methods and benchmarks are spelled as in `METHODS` and `BENCHMARKS`; the table is
Table 1 unless the last argument names another.

To claim something about another table or figure: what measures it in `measures.MEASURES`, a
function here, rows in data/claims.csv. A figure that computes what it shows has its data beside it
(see `style.save_figure`), which is its record.
"""

from __future__ import annotations

from statistics import fmean

import numpy as np

from sparsevlm.analysis import statistics
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import DENSE_SETTING, Results, Setting
from sparsevlm.evaluation.backends import backend_of
from sparsevlm.evaluation.judges.prompts import TASKS
from sparsevlm.paper.claims.measures import NotJudgedError, NotRunError, ProfileRecords

TABLE_1 = "table_1"


def _results(found: ProfileRecords, table: str, *settings: Setting, benchmark: str = "") -> Results:
    """A table, if it has these methods at these budgets; all its benchmarks, or one."""
    results = found.results(table)
    asked = [benchmark] if benchmark else results.profile.benchmarks
    found.note = backend_of(results.profile.model).note(asked)
    for method, tokens in settings:
        if (method, tokens) not in results.relative:
            budget = "" if tokens is None else f" at {tokens} tokens"
            raise NotRunError(f"profile {found.profile!r} does not run {method}{budget}")
    return results


def _comparable(found: ProfileRecords, table: str, benchmark: str, *settings: Setting) -> Results:
    """A table, if its scores of a benchmark may stand beside the paper's: a judge's by a judge's.

    Those of a miniature are not compared with the paper's, so matches will do.
    """
    results = _results(found, table, *settings, benchmark=benchmark)
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
    if not benchmark:
        _results(found, "table_3")  # all of them
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


def average_score(found: ProfileRecords, method: str, tokens: int | None, table: str) -> float:
    """The mean of the scores over the benchmarks of a table."""
    setting = (method, tokens)
    return _results(found, table, setting).value("mean score", setting)


def slope(found: ProfileRecords, method: str, many: int, few: int, table: str) -> float:
    """What every 100 tokens fewer cost of the mean score, in points."""
    ends = [average_score(found, method, tokens, table) for tokens in (many, few)]
    return 100 * (ends[0] - ends[1]) / (many - few)


def mean_lead(found: ProfileRecords, first: str, second: str, tokens: int, table: str) -> Estimate:
    """The mean over the benchmarks of a table of how far the first score is ahead, paired."""
    settings = (first, tokens), (second, tokens)
    results = _results(found, table, *settings)
    scores = [
        np.mean([results.scores[(*one, name)] for name in results.profile.benchmarks], axis=0)
        for one in settings
    ]
    return statistics.estimate(scores[0] - scores[1])


def budgets_above(
    found: ProfileRecords, first: str, second: str, benchmark: str, table: str
) -> int:
    """At how many budgets of a table the first method scores higher."""
    budgets = found.results(table).profile.budgets
    pairs = [
        [score(found, method, tokens, benchmark, table) for method in (first, second)]
        for tokens in budgets
    ]
    return sum(ours > other for ours, other in pairs)


def visual_tokens(found: ProfileRecords, benchmark: str, table: str) -> float:
    """The mean number of visual tokens of a benchmark's images, before any is pruned."""
    results = _results(found, table, DENSE_SETTING, benchmark=benchmark)
    rows = results.records[(*DENSE_SETTING, benchmark)].predictions
    return fmean(row["tokens_in"][0] for row in rows)


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
    if not rows.keys() >= {first, second}:
        raise NotRunError(f"in the images of {found.profile!r} nobody marked what is asked for")
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
