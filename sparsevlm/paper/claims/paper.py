"""Arithmetic on the paper's own numbers: do its sentences follow from its tables?

The column "paper" of data/claims.csv is made of the public functions here, each of which returns
one number. Methods, measures and versions are spelled as in data/published.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from sparsevlm.analysis import published

V4 = "v4"
SCORES = {
    "v4": ("GQA", "MMB", "MME", "POPE", "SQA", "SEED", "TextVQA", "MMVet"),
    "v1": ("GQA", "MMB", "MME", "POPE", "SQA", "VQAv2", "TextVQA", "ConBench"),
}
VIDEO = [f"{name}_accuracy" for name in ("TGIF-QA", "MSVD-QA", "MSRVTT-QA", "ActivityNet-QA")]
VIDEO_TABLE = {"v4": ("table3", 194), "v1": ("table2", 135)}
DENSE_TOKENS = {"table1": 576, "table2": 2048, "table3": 2048}

Names = str | Sequence[str]


def value(
    item: str, method: str, tokens: int | str | list[int], measure: Names, version: str = V4
) -> float:
    """The printed number; of several budgets or measures their mean."""
    budgets = tokens if isinstance(tokens, list) else [tokens]
    return fmean(
        published.value(item, method, budget, name, version=version)
        for budget in budgets for name in _listed(measure)
    )  # fmt: skip


def _listed(measure: Names) -> Sequence[str]:
    return [measure] if isinstance(measure, str) else measure


def percent_of_dense(
    item: str, method: str, tokens: int, measure: Names, version: str = V4
) -> float:
    """A score in percent of the dense model's; of several measures the mean of the percentages."""
    dense = "Dense", DENSE_TOKENS[item]
    return fmean(
        100 * value(item, method, tokens, name, version) / value(item, *dense, name, version)
        for name in _listed(measure)
    )


def relative_accuracy(method: str, tokens: int, version: str = V4) -> float:
    """The mean of the eight percentages of Table 1, from the scores."""
    return percent_of_dense("table1", method, tokens, SCORES[version], version)


def lead(first: str, second: str, tokens: int, version: str = V4) -> float:
    """The difference of two printed relative accuracies of Table 1, in points."""
    printed = "relative_accuracy_percent"
    ends = [value("table1", method, tokens, printed, version) for method in (first, second)]
    return ends[0] - ends[1]


def video_percent(method: str, version: str = V4) -> float:
    """The mean of the four percentages of the dense accuracies."""
    item, tokens = VIDEO_TABLE[version]
    return percent_of_dense(item, method, tokens, VIDEO, version)


def equal_scores(first: Sequence[str], second: Sequence[str]) -> float:
    """How many scores are the same in two places, each given by item, version and method."""
    ours, other = (
        {
            (row.visual_tokens, row.measure): row.value
            for row in published.rows(item, version=version)
            if row.method == method and row.measure in SCORES[V4]
        }
        for item, version, method in (first, second)
    )
    return float(sum(other.get(place) == number for place, number in ours.items()))


def budgets_above(item: str, rival: str, measure: str) -> float:
    """At how many budgets SparseVLM is above a rival."""
    budgets = {row.visual_tokens for row in published.rows(item) if row.method == rival}
    pairs = [[value(item, one, b, measure) for one in ("SparseVLM", rival)] for b in budgets]
    return float(sum(ours > other for ours, other in pairs))
