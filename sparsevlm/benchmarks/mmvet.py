"""MM-Vet: an open answer, judged by the share of required facts it contains.

The published scores come from a GPT-4 judge that is no longer served. This deterministic match
replaces it, so its numbers may be compared with each other and not with the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence

from sparsevlm.benchmarks.answers import normalise
from sparsevlm.benchmarks.counting import Row, mean_score, percent_right, share_right
from sparsevlm.benchmarks.sample import Sample

EITHER = "<OR>"  # MM-Vet's own mark between wordings of one fact


def parse(prediction: str, sample: Sample) -> str:
    """Return the normalised answer (see `sparsevlm.benchmarks.answers.normalise`)."""
    return normalise(prediction)


def judge(row: Row) -> float:
    """Return the share of the required facts that the answer contains, whole words in order.

    Raises
    ------
    ValueError
        The sample names no facts, or one that is only an article.

    Source
    ------
    MM-Vet's grading rule: every element joined by <AND> must be present, <OR> asks for one of them.
    Difference: a normalised match instead of a GPT-4 judge.
    """
    sample = Sample.from_json(row)
    if not sample.answers:
        raise ValueError(f"MM-Vet needs the required facts in `answers`, {sample.id!r} has none")
    answer = f" {parse(row['prediction'], sample)} "
    return sum(_contains(answer, fact) for fact in sample.answers) / len(sample.answers)


def _contains(answer: str, fact: str) -> bool:
    wordings = [normalise(wording) for wording in fact.split(EITHER)]
    if not all(wordings):
        raise ValueError(f"the fact {fact!r} has no word left once articles and marks are gone")
    return any(f" {wording} " in answer for wording in wordings)


counts = share_right(judge)
headline = percent_right


def score(rows: Sequence[Row]) -> dict:
    """Return the mean share in percent under "score", and per ability under "parts"."""
    return mean_score(rows, counts)
