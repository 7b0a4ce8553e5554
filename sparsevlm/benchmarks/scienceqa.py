"""ScienceQA: multiple choice, answered by a letter.

On the real data the splits are "image", the official script's IMG-Accuracy, and "text". The paper
does not say whether its column has the total or the former.
"""

from __future__ import annotations

import re

from sparsevlm.benchmarks.answers import letters
from sparsevlm.benchmarks.counting import exact_match
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


score_sample = exact_match(parse)
