"""GQA: one short answer, right only if it is exactly the reference."""

from __future__ import annotations

from collections.abc import Sequence

from sparsevlm.benchmarks.counting import Row, mean_score, percent_right, share_right
from sparsevlm.benchmarks.sample import Sample


def parse(prediction: str, sample: Sample) -> str:
    """Return the answer lower-cased, without closing periods.

    Source
    ------
    LLaVA `scripts/convert_gqa_for_eval.py`. Difference: none. Articles stay: "a dog" is not "dog".
    """
    return prediction.strip().rstrip(".").lower()


def score_sample(row: Row) -> float:
    """Return 1 for an exact match, else 0 (GQA's own `eval.py`)."""
    sample = Sample.from_json(row)
    return float(parse(row["prediction"], sample) == sample.answer.lower())


sample_stats = share_right(score_sample)
aggregate = percent_right


def score(rows: Sequence[Row]) -> dict:
    """Return the accuracy in percent under "score", and per split under "parts"."""
    return mean_score(rows, sample_stats)
