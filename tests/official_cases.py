"""What models say, and rows of a record: for the tests that compare scorers with official rules."""

from __future__ import annotations

import random
from collections.abc import Iterator

from sparsevlm.benchmarks import Sample, get_benchmark

# What models say, and what makes rewritten scorers differ.
SAID = [
    "yes", "Yes", "YES", "Yes.", "yes.", "yes..", "Yes, there is.", "no", "No", "NO", "No.",
    "no,", "No, it is not", "not", "not.", "It is not. Yes", "Yes. No", "nothing", "none", "",
    ".", "maybe", "there is no dog", "knot", "A", "A.", "a", "A. a dog", "A: dog", "B", "B. ",
    "B.", "(B)", "b", "B\nbecause", "C", "D", "E", "The answer is B", "The answer is B.",
    "The answer is E.", "the answer is B", "I say. The answer is A. The answer is B", "A dog",
    "a dog", "dog", "the dog", "Dog.", "dogs", "two", "2", "Two dogs", "2 dogs", "an apple",
    "apple", "dont", "don't", "1,000", "1000", "1.5", "1.5.", "Mr. X", "mr x", "coca-cola",
    "coca cola", "coca - cola", "what?", "ten", "10", "eleven", "bob's", "bob 's", "new  york",
    "new york", "yes no", "Answer: no", "No\nyes", "So no", "So yes",
    "The answer is A or The answer is B.",
]  # fmt: skip

# Pieces of answers to multiple choice, to be strung together: what the official rules hang on.
PIECES = [
    "A", "B", "C", "D", "E", "F", "Z", "a", "b", "FAILED", "The answer is ", "the answer is ",
    "The correct answer is ", "ANSWER  IS\t", "answer is **", "answer\xa0is ",
    "An\u017fwer \u0131s ", " ", " ", " ", "  ", "\n", "\r", "\r\n", "\t", "\u2028", "\x85",
    "\x0b", "\u3000", ".", ". ", "**", "(", ")", "[", "]", ",", ":", ";", "!", "*", "#", "{", "}",
    "?", "-", "'", "dog", "Dog ", "cat", "a cat", "new york", " it is not", "because of the ",
    "I say ", "\u0130", "\xdf", "\u72d7", "Failed to obtain answer via API",
    "Sorry, I can't help with images of people yet.", "I can't process this file.",
    "I'm sorry, but without the image provided", "Cannot determine the answer",
    "cannot determine the answer", "nan", "None", "0", "1.0",
]  # fmt: skip
OPTIONS = [
    "dog", "cat", "A cat", "apple", "two", "new york", "dog and cat", "B", "", "1.0", "nan",
    "\u0130stanbul", "\u72d7", "All above are not right", "answer", "a",
    "I can't process this file.",
]  # fmt: skip


def adversarial(count: int, seed: int = 0) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield so many answers with the options of their questions."""
    draw = random.Random(seed)
    for _ in range(count):
        size = draw.choice([1, 2, 2, 3, 4, 4, 4, 5, 26])
        length = draw.choice([0, 1, 2, 3, 3, 4, 5, 6, 8, 12])
        yield "".join(draw.choices(PIECES, k=length)), tuple(draw.choices(OPTIONS, k=size))


def row(number, prediction, answer, **fields):
    sample = Sample(str(number), "scene:0", "q", answer, **fields)
    return {**sample.to_json(), "prediction": prediction.strip()}


def score(name, rows):
    return get_benchmark(name).score(rows)


def judged(name, prediction, answer, **fields):
    return get_benchmark(name).score_sample(row(1, prediction, answer, **fields))
