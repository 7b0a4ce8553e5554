"""TextVQA: a short answer against ten human ones, with partial credit."""

from __future__ import annotations

from sparsevlm.benchmarks.answers import normalise
from sparsevlm.benchmarks.counting import Row
from sparsevlm.benchmarks.sample import Sample

NUM_HUMANS = 10
ENOUGH = 3  # this many agreeing humans make an answer fully right


def parse(prediction: str, sample: Sample) -> str:
    """Return the normalised answer (see `sparsevlm.benchmarks.answers.normalise`)."""
    return normalise(prediction)


def score_sample(row: Row) -> float:
    """Return the soft accuracy: the mean over ten panels of nine humans of min(1, agreeing / 3).

    Raises
    ------
    ValueError
        The sample has not exactly ten human answers.

    Source
    ------
    LLaVA `llava/eval/m4c_evaluator.py`, `TextVQAAccuracyEvaluator`. Difference: none.
    """
    sample = Sample.from_json(row)
    if len(sample.answers) != NUM_HUMANS:
        raise ValueError(
            f"TextVQA needs {NUM_HUMANS} human answers per sample, "
            f"{sample.id!r} has {len(sample.answers)}; repeat the one answer if only one is known"
        )
    answer = parse(row["prediction"], sample)
    agrees = [normalise(human) == answer for human in sample.answers]
    if not any(agrees):
        return 0.0
    panels = [min(1.0, (sum(agrees) - left_out) / ENOUGH) for left_out in agrees]
    return sum(panels) / NUM_HUMANS
