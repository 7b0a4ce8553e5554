"""What models say, and rows of a record: for the tests that compare scorers with official rules."""

from __future__ import annotations

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


def row(number, prediction, answer, **fields):
    sample = Sample(str(number), "scene:0", "q", answer, **fields)
    return {**sample.to_json(), "prediction": prediction.strip()}


def score(name, rows):
    return get_benchmark(name).score(rows)


def judged(name, prediction, answer, **fields):
    return get_benchmark(name).score_sample(row(1, prediction, answer, **fields))
