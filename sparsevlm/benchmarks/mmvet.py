"""MM-Vet: an open answer, judged by the share of required facts it contains.

The published scores come from a GPT-4 judge that is no longer served. This deterministic match
replaces it, so its numbers may be compared with each other and not with the paper's. Where rows
carry the verdicts of another judge, its score is reported beside the match.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sparsevlm.benchmarks.answers import normalise
from sparsevlm.benchmarks.counting import (
    Counts,
    Row,
    accuracy_parts,
    count_verdicts,
    judge_part,
    percent_right,
    ratio,
    total_of,
)
from sparsevlm.benchmarks.sample import Sample

EITHER = "<OR>"  # MM-Vet's own mark between wordings of one fact
AND_ABILITY = "+"  # between the abilities that one question needs, in `Sample.split`


def parse(prediction: str, sample: Sample) -> str:
    """Return the normalised answer (see `sparsevlm.benchmarks.answers.normalise`)."""
    return normalise(prediction)


def score_sample(row: Row) -> float:
    """Return the share of the required facts that the answer contains, whole words in order.

    Raises
    ------
    ValueError
        The sample names no facts, or one without a word.

    Source
    ------
    MM-Vet's grading rule: every element joined by <AND> must be present, <OR> asks for one of them.
    Difference: a normalised match instead of a GPT-4 judge; it ignores the sign of a number. A fact
    that is only an article ("A" of two samples) is looked for without leaving articles out.
    """
    sample = Sample.from_json(row)
    if not sample.answers:
        raise ValueError(f"MM-Vet needs the required facts in `answers`, {sample.id!r} has none")
    contained = [_contains(row["prediction"], fact) for fact in sample.answers]
    return sum(contained) / len(contained)


def _contains(prediction: str, fact: str) -> bool:
    return any(_says(prediction, wording) for wording in fact.split(EITHER))


def _says(prediction: str, wording: str) -> bool:
    if words := normalise(wording):
        return f" {words} " in f" {normalise(prediction)} "
    words, said = (re.findall(r"\w+", text.lower()) for text in (wording, prediction))
    if not words:
        raise ValueError(f"the fact {wording!r} has no word that an answer could contain")
    return f" {' '.join(words)} " in f" {' '.join(said)} "


def sample_stats(group: Sequence[Row]) -> Counts:
    """Return the counts of a group: overall, and for every ability that it needs.

    A question that needs two abilities counts for both, as in MM-Vet's own table. Where rows carry
    a "verdict", "judged", "judge_points" (sum of fractions) and "judge_broken" count it.

    Raises
    ------
    ValueError
        A verdict is neither a fraction from 0 to 1 nor marked as broken.
    """
    right, asked = sum(score_sample(row) for row in group), float(len(group))
    out = {"right": right, "asked": asked}
    for ability in filter(None, group[0]["split"].split(AND_ABILITY)):
        out |= {f"{ability}/right": right, f"{ability}/asked": asked}
    return out | count_verdicts(group, ("judge_points",), _read)


def _read(verdict: Mapping, sample: str) -> tuple[float]:
    points = verdict.get("score")
    number = isinstance(points, int | float) and not isinstance(points, bool)
    if not number or not 0 <= points <= 1:
        raise ValueError(
            f"the verdict on {sample!r} must have a score from 0 to 1, or a reason under broken; "
            f"got {dict(verdict)!r}"
        )
    return (points,)


def judged_score(totals: Mapping):
    """Return the judge's mean, 0 to 100, as MM-Vet's table has it.

    Source
    ------
    MM-Vet's grading script, where a reply that cannot be read counts 0, as here.
    """
    return 100 * ratio(totals["judge_points"], totals["judged"] + totals["judge_broken"])


def score(rows: Sequence[Row]) -> dict:
    """Return the mean share in percent under "score", and per ability under "parts".

    Where rows carry verdicts, "judge" has "score" from 0 to 100, and how many verdicts are usable
    ("judged"), "broken" and "missing".
    """
    totals = total_of(rows, sample_stats)
    out = {"score": float(percent_right(totals)), "parts": accuracy_parts(totals)}
    return out | judge_part(totals, len(rows), score=judged_score)
