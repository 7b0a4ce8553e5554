"""MMBench: multiple choice asked once per rotation of its options.

A question counts only if every rotation is answered right (circular evaluation).
"""

from __future__ import annotations

from collections.abc import Sequence

from sparsevlm.benchmarks.answers import infer_option
from sparsevlm.benchmarks.counting import (
    Counts,
    Row,
    accuracy_parts,
    exact_match,
    percent_right,
    ratio,
    share_right,
    total_of,
)
from sparsevlm.benchmarks.sample import Sample


def parse(prediction: str, sample: Sample) -> str:
    """Return the letter the answer picks, or "" (see `sparsevlm.benchmarks.answers`)."""
    return infer_option(prediction, sample.options)


score_sample = exact_match(parse)


def sample_stats(group: Sequence[Row]) -> Counts:
    """Return the counts of one question, given all its rotations, the original one first.

    Raises
    ------
    ValueError
        A rotation is missing: there must be as many as the longest of them has options.
    """
    expected = max(len(row["options"]) for row in group)
    if len(group) != expected:
        raise ValueError(
            f"MMBench question {group[0]['group']!r} needs its {expected} rotations, "
            f"got {len(group)}; score whole groups"
        )
    right = [score_sample(row) for row in group]
    whole = {**group[0], "right": float(all(right))}
    return share_right(lambda row: row["right"])([whole]) | {"vanilla_right": right[0]}


def score(rows: Sequence[Row]) -> dict:
    """Return the circular accuracy in percent under "score".

    "vanilla" asks only the original order of the options; "parts" is circular, per ability.
    """
    totals = total_of(rows, sample_stats)
    vanilla = float(100 * ratio(totals["vanilla_right"], totals["asked"]))
    return {
        "score": float(percent_right(totals)),
        "vanilla": vanilla,
        "parts": accuracy_parts(totals),
    }
