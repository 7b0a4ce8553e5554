"""SEED-Bench: multiple choice, answered by a letter; total and per ability."""

from __future__ import annotations

from collections.abc import Sequence

from sparsevlm.benchmarks.counting import Row, mean_score, percent_right, share_right
from sparsevlm.benchmarks.sample import Sample


def parse(prediction: str, sample: Sample) -> str:
    """Return the answer as it is, without blanks around it.

    Source
    ------
    LLaVA `scripts/convert_seed_for_submission.py`, which asks for the bare letter: "A." is wrong.
    Difference: none.
    """
    return prediction.strip()


def judge(row: Row) -> float:
    """Return 1 for the right letter, else 0."""
    sample = Sample.from_json(row)
    return float(parse(row["prediction"], sample) == sample.answer)


counts = share_right(judge)
headline = percent_right


def score(rows: Sequence[Row]) -> dict:
    """Return the total accuracy in percent under "score", and per ability under "parts"."""
    return mean_score(rows, counts)
