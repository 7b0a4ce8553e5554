"""ScienceQA: multiple choice, answered by a letter.

On the real data the splits are "image", the official script's IMG-Accuracy, and "text". The paper
does not say whether its column has the total or the former.
"""

from __future__ import annotations

import re

from sparsevlm.benchmarks.counting import exact_match
from sparsevlm.benchmarks.sample import Sample

LETTERS = ("A", "B", "C", "D", "E")


def parse(prediction: str, sample: Sample) -> str:
    """Return the letter of the answer, or "" where none is given in an accepted form.

    Accepted: "B" and nothing else; "B. and more"; exactly one "The answer is B" with a further
    character behind it, which may be anything but a line feed. The letter must be an option's.

    Source
    ------
    LLaVA `llava/eval/eval_science_qa.py` (main branch). Difference: none; "B.", "b" and a closing
    "The answer is B" are wrong there too. Blanks count: the script that asks has removed them.
    """
    if prediction in LETTERS:
        letter = prediction
    elif match := re.match(r"([A-E])\. ", prediction):
        letter = match[1]
    else:
        said = re.findall(r"The answer is ([A-Z]).", prediction)
        letter = said[0] if len(said) == 1 else ""
    return letter if letter in LETTERS[: len(sample.options)] else ""


score_sample = exact_match(parse)
