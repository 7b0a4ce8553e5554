"""Table 4: with and without token reconstruction on GQA and POPE, at four budgets.

The paper does not say what happens to the budget where nothing is reconstructed, so both readings
are measured: refilled (as many tokens are left, all of them kept as they are) and not refilled (the
same tokens are kept, and the recycled ones are lost). Read next: table_4_views.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from sparsevlm.analysis import published, statistics, study
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import Results
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.profiles import Profile

WITH = "sparsevlm"
READINGS = ("sparsevlm-no-recycling", "sparsevlm-not-refilled")
NAMES = {
    WITH: "with",
    "sparsevlm-no-recycling": "without (refilled)",
    "sparsevlm-not-refilled": "without (not refilled)",
}


@dataclass(frozen=True)
class Gain:
    """What token reconstruction gains on one benchmark.

    Attributes
    ----------
    benchmark : str
        Name in `BENCHMARKS`.
    reading : str
        The method that it is compared with, one of `READINGS`.
    tokens : int or None
        The budget; None for the mean over all of them.
    measured : Estimate
        Score with minus score without, in points, paired.
    published : float
        The same difference in the paper's table.
    """

    benchmark: str
    reading: str
    tokens: int | None
    measured: Estimate
    published: float


def measure(profile: Profile | str) -> Results:
    """Return Table 4 of a profile from its finished records; errors as of `study.measure`."""
    return study.measure(profile, "table_4")


def budgets(results: Results) -> list[int]:
    """Return the budgets in the paper's order, fewest first."""
    return sorted(results.profile.budgets)


def score(results: Results, method: str, benchmark: str, tokens: int | None) -> Estimate:
    """Return a score at one budget, or its mean over all of them."""
    return statistics.estimate(_drawn(results, method, benchmark, tokens))


def _drawn(results: Results, method: str, benchmark: str, tokens: int | None) -> np.ndarray:
    chosen = budgets(results) if tokens is None else [tokens]
    return np.mean([results.scores[method, one, benchmark] for one in chosen], axis=0)


def gain(results: Results, reading: str, benchmark: str, tokens: int | None) -> Gain:
    """Return the gain over one reading, at one budget or on average over all of them."""
    ends = [_drawn(results, method, benchmark, tokens) for method in (WITH, reading)]
    return Gain(
        benchmark, reading, tokens, statistics.estimate(ends[0] - ends[1]),
        published_gain(benchmark, budgets(results) if tokens is None else [tokens]),
    )  # fmt: skip


def gains(results: Results) -> list[Gain]:
    """Return the gains by benchmark and reading: at every budget, fewest first, then the mean."""
    return [
        gain(results, reading, name, tokens)
        for name in results.profile.benchmarks
        for reading in READINGS
        for tokens in (*budgets(results), None)
    ]


def growth(results: Results, reading: str, benchmark: str) -> Estimate:
    """Return the gain at the fewest tokens minus that at the most, in points, paired."""
    few, *_, many = budgets(results)
    ends = [
        _drawn(results, WITH, benchmark, tokens) - _drawn(results, reading, benchmark, tokens)
        for tokens in (few, many)
    ]
    return statistics.estimate(ends[0] - ends[1])


def published_score(method: str, benchmark: str, tokens: Sequence[int]) -> float:
    """Return the paper's score with or without reconstruction, mean over budgets.

    Parameters
    ----------
    method : str
        `WITH`, or one of `READINGS`: the paper has one row for both.
    benchmark : str
        Name in `BENCHMARKS`.
    tokens : sequence of int
        Budgets.
    """
    kind = "with" if method == WITH else "without"
    row, column = f"SparseVLM {kind} token reconstruction", BENCHMARKS[benchmark].paper_column
    return fmean(published.value("table4", row, one, column) for one in tokens)


def published_gain(benchmark: str, tokens: Sequence[int]) -> float:
    """Return the paper's gain in points, mean over budgets."""
    ends = [published_score(method, benchmark, tokens) for method in (WITH, READINGS[0])]
    return ends[0] - ends[1]
