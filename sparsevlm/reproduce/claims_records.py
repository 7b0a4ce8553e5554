"""What the records of a profile say of a claim.

Every public function can be named in the column "records" of data/claims.csv. It gets the records
first. A difference of methods comes back as an `Estimate` with its paired interval, a plain value
as a number. Methods and benchmarks are spelled as in `METHODS` and `BENCHMARKS`.

To claim something about another table or figure: what measures it in `MEASURES`, a function here,
rows in data/claims.csv. A figure that computes what it shows has its data beside it (see
`style.save_figure`), which is its record.
"""

from __future__ import annotations

import csv
from collections.abc import Callable

import numpy as np

from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.reproduce import statistics, table_1
from sparsevlm.reproduce.claims_collect import Found, NotRunError
from sparsevlm.reproduce.paths import FIGURES, relative
from sparsevlm.reproduce.profiles import get_profile
from sparsevlm.reproduce.statistics import Estimate

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
    "table_1": table_1.measure,
    "figure_1": drawn("figure_1"),
    "figure_7": drawn("figure_7"),
}


def _table_1(found: Found, *settings: table_1.Setting) -> table_1.Results:
    """Table 1, if it has these methods at these budgets."""
    results = found.results("table_1")
    for method, tokens in settings:
        if (method, tokens) not in results.relative:
            budget = "" if tokens is None else f" at {tokens} tokens"
            raise NotRunError(f"profile {found.profile!r} does not run {method}{budget}")
    return results


def lead(found: Found, first: str, second: str, tokens: int) -> Estimate:
    """Relative accuracy of the first method minus that of the second, in points, paired."""
    settings = (first, tokens), (second, tokens)
    return _table_1(found, *settings).difference(*settings)


def lead_growth(found: Found, first: str, second: str, many: int, few: int) -> Estimate:
    """The lead at few tokens minus the lead at many, in points, paired."""
    ends = {}
    for tokens in (many, few):
        settings = (first, tokens), (second, tokens)
        relative = _table_1(found, *settings).relative
        ends[tokens] = relative[settings[0]] - relative[settings[1]]
    return statistics.estimate(ends[few] - ends[many])


def accuracy(found: Found, method: str, tokens: int | None) -> float:
    """Relative accuracy, in percent."""
    percent = float(_table_1(found, (method, tokens)).relative[method, tokens][0])
    if percent != percent:
        raise NotRunError(f"the dense model of {found.profile!r} scores 0 on a benchmark")
    return percent


def loss(found: Found, method: str, tokens: int) -> float:
    """100 minus the relative accuracy, in points."""
    return 100 - accuracy(found, method, tokens)


def score(found: Found, method: str, tokens: int | None, benchmark: str) -> float:
    """The score of one benchmark, in the unit of the paper's column."""
    results = _table_1(found, (method, tokens))
    row = next(row for row in results.rows if (row.method, row.tokens) == (method, tokens))
    return row.scores[benchmark]


def percent_of_dense(found: Found, method: str, tokens: int, benchmark: str) -> float:
    """The score of one benchmark in percent of the dense model's."""
    dense = score(found, "dense", None, benchmark)
    if dense == 0:
        raise NotRunError(f"the dense model of {found.profile!r} scores 0 on {benchmark}")
    return 100 * score(found, method, tokens, benchmark) / dense


def benchmark_lead(
    found: Found, benchmark: str, first: str, second: str, tokens: int
) -> Estimate:
    """The score of the first method minus that of the second, paired."""
    results = _table_1(found, (first, tokens), (second, tokens))
    counts = [
        statistics.count_groups(
            results.records[method, tokens, benchmark].predictions, BENCHMARKS[benchmark].counts
        )
        for method in (first, second)
    ]
    return statistics.paired_difference(*counts, BENCHMARKS[benchmark].headline)


def focus_lead(found: Found, first: str, second: str) -> Estimate:
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


def redundancy_gap(found: Found) -> Estimate:
    """Share of words minus share of patches that hold 90 % of the attention (Figure 7), in points.

    The interval is a bootstrap over the questions.
    """
    rows = found.results("figure_7")
    gaps = np.array([float(row["holders, words"]) - float(row["holders, image"]) for row in rows])
    drawn_again = np.random.default_rng(statistics.SEED).choice(
        gaps, size=(statistics.RESAMPLES, len(gaps))
    )
    return statistics.estimate(100 * np.concatenate([[gaps.mean()], drawn_again.mean(axis=1)]))
