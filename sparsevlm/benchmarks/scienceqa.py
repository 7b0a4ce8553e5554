"""ScienceQA: multiple choice, answered by a letter."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sparsevlm.benchmarks.answers import letters
from sparsevlm.benchmarks.counting import Row, mean_score, percent_right, share_right
from sparsevlm.benchmarks.sample import Sample


def parse(prediction: str, sample: Sample) -> str:
    """Return the letter of the answer, or "" where none is given in an accepted form.

    Accepted: "B"; "B. and more"; "... The answer is B".

    Source
    ------
    LLaVA `llava/eval/eval_science_qa.py`. Difference: none; "B." and "b" are wrong there too.
    """
    allowed = letters(len(sample.options))
    text = prediction.replace("\n", ". ")
    if text.strip() in tuple("ABCDE"):
        letter = text.strip()
    elif match := re.match(r"([A-E])\. ", text):
        letter = match[1]
    else:
        match = re.search(r"The answer is ([A-E])\.", text) or re.search(
            r"The answer is ([A-E])", text
        )
        letter = match[1] if match else ""
    return letter if letter in allowed else ""


def score_sample(row: Row) -> float:
    """Return 1 for the right letter, else 0."""
    sample = Sample.from_json(row)
    return float(parse(row["prediction"], sample) == sample.answer)


sample_stats = share_right(score_sample)
aggregate = percent_right


def score(rows: Sequence[Row]) -> dict:
    """Return the total accuracy in percent under "score", and per split under "parts".

    On the real data the splits are "image", the script's IMG-Accuracy, and "text". The paper does
    not say which of the two numbers its column has.
    """
    return mean_score(rows, sample_stats)
