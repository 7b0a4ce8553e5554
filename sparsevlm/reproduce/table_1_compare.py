"""Does the paper's ranking of the methods hold here, and does SparseVLM beat looking at nothing?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from sparsevlm.baselines import METHODS
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.reproduce import statistics
from sparsevlm.reproduce.statistics import Estimate, McNemar
from sparsevlm.reproduce.table_1 import OURS, Results, Setting, published_row

# Two that look at nothing, and SparseVLM itself without the selection of raters.
CONTROLS = ("random", "uniform", "sparsevlm-all-text")


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
        if not self.measured.excludes_zero:
            return "cannot tell"
        return "reproduced" if self.measured.low > 0 else "contradicted"

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        high, low = self.published
        here = {
            "reproduced": "the miniature agrees",
            "contradicted": "the miniature contradicts it",
            "cannot tell": "the miniature cannot tell",
        }[self.verdict]
        return (
            f"At {self.tokens} tokens the paper puts {self.better} ({high:.1f} %) above "
            f"{self.worse} ({low:.1f} %); {here}: {in_words(self.measured)}."
        )


def in_words(estimate: Estimate) -> str:
    """Return "+1.2 points, 95 % interval +0.3 to +2.1"."""
    if not estimate.exists:
        return "no relative accuracy, for the dense model scores 0 on a benchmark"
    percent = f"{100 * estimate.level:.0f} %"
    low, high = (f"{end:+.1f}" for end in (estimate.low, estimate.high))
    return f"{estimate.value:+.1f} points, {percent} interval {low} to {high}"


def orderings(results: Results) -> list[Ordering]:
    """Return every pair of methods that the paper ranks, budget by budget.

    Intervals are of single comparisons; nothing is corrected for their number.
    """
    found = []
    for tokens in results.profile.budgets:
        ranked = _published_ranking(results.profile.methods, tokens)
        for (better, high), (worse, low) in combinations(ranked, 2):
            if high > low:
                measured = results.difference((better, tokens), (worse, tokens))
                labels = METHODS[better].label, METHODS[worse].label
                found.append(Ordering(tokens, *labels, (high, low), measured))
    return found


def _published_ranking(methods: Sequence[str], tokens: int) -> list[tuple[str, float]]:
    rows = {method: published_row(method, tokens) for method in methods}
    ranked = [(m, row["relative_accuracy_percent"]) for m, row in rows.items() if row]
    return sorted(ranked, key=lambda pair: -pair[1])


def agreement(results: Results) -> str:
    """Return how many of the paper's orderings hold here, in one sentence."""
    verdicts = [ordering.verdict for ordering in orderings(results)]
    counts = {v: verdicts.count(v) for v in ("reproduced", "contradicted", "cannot tell")}
    return (
        f"Of the paper's {len(verdicts)} pairwise orderings the miniature reproduces "
        f"{counts['reproduced']}, contradicts {counts['contradicted']}, "
        f"and cannot tell {counts['cannot tell']}."
    )


@dataclass(frozen=True)
class Control:
    """SparseVLM against a control at the same budget.

    Attributes
    ----------
    tokens : int
        The budget.
    control : str
        Label.
    measured : Estimate
        Relative accuracy of SparseVLM minus that of the control, in points.
    answers : McNemar
        Single answers, over the benchmarks that mark them right or wrong.
    """

    tokens: int
    control: str
    measured: Estimate
    answers: McNemar

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        certain = "" if self.measured.excludes_zero else ", which may be chance"
        return (
            f"At {self.tokens} tokens SparseVLM minus {self.control}: {in_words(self.measured)}"
            f"{certain}. {self.answers.only_first} answers are right with SparseVLM only, "
            f"{self.answers.only_second} with {self.control} only "
            f"(McNemar p = {self.answers.p_value:.2g})."
        )


def controls(results: Results) -> list[Control]:
    """Return SparseVLM against every control, budget by budget; the paper has no such rows."""
    return [
        Control(
            tokens,
            METHODS[control].label,
            results.difference((OURS, tokens), (control, tokens)),
            statistics.mcnemar(*_outcomes(results, (OURS, tokens), (control, tokens))),
        )
        for tokens in results.profile.budgets
        for control in CONTROLS
        if control in results.profile.methods and OURS in results.profile.methods
    ]


def _outcomes(results: Results, *settings: Setting) -> list[list[float]]:
    """Right (1) or wrong (0) of the same samples, one list per setting."""
    lists: list[list[float]] = [[] for _ in settings]
    for name in results.profile.benchmarks:
        judged = [
            {
                row["id"]: BENCHMARKS[name].judge(row)
                for row in results.records[(*s, name)].predictions
            }
            for s in settings
        ]
        if all(value in (0.0, 1.0) for one in judged for value in one.values()):
            for out, one in zip(lists, judged, strict=True):
                out += [one[sample_id] for sample_id in sorted(one)]
    return lists
