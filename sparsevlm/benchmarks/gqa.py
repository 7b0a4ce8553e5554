"""GQA: one short answer, right only if it is exactly the reference."""

from __future__ import annotations

from sparsevlm.benchmarks.counting import exact_match
from sparsevlm.benchmarks.sample import Sample


def parse(prediction: str, sample: Sample) -> str:
    """Return the answer lower-cased, without closing periods.

    Source
    ------
    LLaVA `scripts/convert_gqa_for_eval.py`. Difference: none. Articles stay: "a dog" is not "dog".
    """
    return prediction.strip().rstrip(".").lower()


score_sample = exact_match(parse, ignore_case=True)  # GQA's own eval.py
