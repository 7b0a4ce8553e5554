"""Comparisons in words: the verdict on an estimate, right and wrong answer by answer."""

from __future__ import annotations

from collections.abc import Sequence

from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import Results, Setting
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.methods import METHODS

AGREES, CONTRADICTS, CANNOT_TELL = "reproduced", "contradicted", "cannot tell"


def label(method: str) -> str:
    """Return a method's name for readers."""
    return METHODS[method].label


def verdict(estimate: Estimate) -> str:
    """Return whether a difference that the paper has above zero is so here.

    "reproduced" or "contradicted" where the interval excludes zero, otherwise "cannot tell".
    """
    if not estimate.excludes_zero:
        return CANNOT_TELL
    return AGREES if estimate.low > 0 else CONTRADICTS


def cell(
    estimate: Estimate | None,
    names: Sequence[str] = ("agrees", "contradicts"),
    interval: bool = False,
) -> str:
    """Return the verdict on a difference as a cell of a table: "agrees +4.2", "cannot tell +0.1".

    `names` are those of a difference above zero and of one below it; with `interval` it is shown.
    """
    if estimate is None or not estimate.exists:
        return "–"
    known = dict(zip((AGREES, CONTRADICTS), names, strict=True))
    shown = estimate if interval else f"{estimate.value:+.1f}"
    return f"{known.get(verdict(estimate), CANNOT_TELL)} {shown}"


def count_verdicts(estimates: Sequence[Estimate]) -> tuple[int, int, int]:
    """Return how many differences are above zero, below it, and cannot be told from it."""
    verdicts = [verdict(estimate) for estimate in estimates]
    agree, contradict, open_ = map(verdicts.count, (AGREES, CONTRADICTS, CANNOT_TELL))
    return agree, contradict, open_


def count_signs(estimates: Sequence[Estimate], first: str, second: str) -> str:
    """Return in a sentence how often each of two sides is ahead by more than chance."""
    ahead, behind, open_ = count_verdicts(estimates)
    return (
        f"Of {len(estimates)} comparisons of {first} with {second}, {first} is ahead by more than "
        f"chance in {ahead} and behind in {behind}; {open_} cannot tell."
    )


def outcomes(results: Results, *settings: Setting) -> list[list[float]]:
    """Return right (1) or wrong (0) of the same samples, one list per setting.

    Benchmarks that give partial credit are left out.
    """
    lists: list[list[float]] = [[] for _ in settings]
    for name in results.profile.benchmarks:
        judged = [
            {
                row["id"]: BENCHMARKS[name].score_sample(row)
                for row in results.records[(*s, name)].predictions
            }
            for s in settings
        ]
        if all(value in (0.0, 1.0) for one in judged for value in one.values()):
            for out, one in zip(lists, judged, strict=True):
                out += [one[sample_id] for sample_id in sorted(one)]
    return lists
