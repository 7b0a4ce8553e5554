"""Does the paper's ranking of the methods hold here, and does SparseVLM beat looking at nothing?

The comparison of two methods in words and the controls are study_words.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from sparsevlm.analysis import study_words
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import Results
from sparsevlm.analysis.study_words import (
    AGREES,
    CANNOT_TELL,
    CONTRADICTS,
    HERE,
    Control,
    in_words,
    label,
    verdict,
)
from sparsevlm.paper.tables.table_1 import published_row

# Three that look at nothing, and SparseVLM itself without the selection of raters.
CONTROLS = ("random", "uniform", "pooled", "sparsevlm-all-text")
PublishedRow = Callable[[str, int | None], dict[str, float]]


@dataclass(frozen=True)
class Ordering:
    """Two methods as the paper ranks them at one budget, and what is measured here.

    Attributes
    ----------
    tokens : int
        The budget.
    better, worse : str
        Labels, as the paper ranks them by relative accuracy.
    published : (float, float)
        Their published relative accuracies, in percent.
    measured : Estimate
        Relative accuracy here, the paper's better one minus its worse one, in points.
    """

    tokens: int
    better: str
    worse: str
    published: tuple[float, float]
    measured: Estimate

    @property
    def verdict(self) -> str:
        """Return "reproduced", "contradicted", or "cannot tell" where zero is in the interval."""
        return verdict(self.measured)

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        high, low = self.published
        return (
            f"At {self.tokens} tokens the paper puts {self.better} ({high:.1f} %) above "
            f"{self.worse} ({low:.1f} %); {HERE[self.verdict]}: {in_words(self.measured)}."
        )


def orderings(results: Results, published: PublishedRow = published_row) -> list[Ordering]:
    """Return every pair of methods that the paper ranks, budget by budget.

    Intervals are of single comparisons; nothing is corrected for their number.

    Parameters
    ----------
    results : Results
    published : (method, tokens) -> dict of float
        The paper's numbers by measure, empty where it has none; by default those of Table 1.
    """
    found = []
    for tokens in results.profile.budgets:
        ranked = _published_ranking(results.profile.methods, tokens, published)
        for (better, high), (worse, low) in combinations(ranked, 2):
            if high > low:
                measured = results.difference((better, tokens), (worse, tokens))
                found.append(Ordering(tokens, label(better), label(worse), (high, low), measured))
    return found


def _published_ranking(
    methods: Sequence[str], tokens: int, published: PublishedRow
) -> list[tuple[str, float]]:
    rows = {method: published(method, tokens) for method in methods}
    ranked = [(m, row["relative_accuracy_percent"]) for m, row in rows.items() if row]
    return sorted(ranked, key=lambda pair: -pair[1])


def agreement(results: Results, published: PublishedRow = published_row) -> str:
    """Return how many of the paper's orderings hold here, in one sentence."""
    verdicts = [ordering.verdict for ordering in orderings(results, published)]
    counts = {v: verdicts.count(v) for v in (AGREES, CONTRADICTS, CANNOT_TELL)}
    return (
        f"Of the paper's {len(verdicts)} pairwise orderings the measurement reproduces "
        f"{counts[AGREES]}, contradicts {counts[CONTRADICTS]}, "
        f"and cannot tell {counts[CANNOT_TELL]}."
    )


def controls(results: Results) -> list[Control]:
    """Return SparseVLM against every control, budget by budget; the paper has no such rows."""
    return study_words.controls(results, CONTROLS)
