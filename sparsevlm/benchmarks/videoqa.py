"""Open questions about a video: a deterministic match always, a judge's verdicts where there are.

The published numbers are those of a language model that says whether an answer is right and how
right, and that is no longer served. The match below is this repository's own: its numbers may be
compared with each other and not with the paper's. Shared by tgif, msvd, msrvtt and activitynet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from sparsevlm.benchmarks.answers import normalise
from sparsevlm.benchmarks.counting import (
    Counts,
    Row,
    accuracy_parts,
    count_verdicts,
    judge_part,
    percent_right,
    ratio,
    total_of,
)
from sparsevlm.benchmarks.sample import Sample

YES_NO = ("yes", "no")
NEITHER = "neither"  # of a verdict that counts in the mean score only
BEST = 5  # a judge's highest score
SHORTEST = 3  # letters that must be left when an ending is taken off
# What `normalise` does not know: numbers beyond ten, how often, and irregular plurals.
WORDS = {
    "eleven": "11", "twelve": "12", "thirteen": "13", "fourteen": "14", "fifteen": "15",
    "sixteen": "16", "seventeen": "17", "eighteen": "18", "nineteen": "19", "twenty": "20",
    "once": "1", "twice": "2", "thrice": "3",
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot",
    "teeth": "tooth", "mice": "mouse", "geese": "goose",
}  # fmt: skip


def parse(prediction: str, sample: Sample) -> str:
    """Return the normalised answer.

    As `sparsevlm.benchmarks.answers.normalise` (lower case, no articles, no punctuation, numbers as
    digits), then numbers up to twenty, "twice", and irregular plurals.
    """
    return _normal(prediction)


def _normal(text: str) -> str:
    return " ".join(WORDS.get(word, word) for word in normalise(text).split())


def _forms(word: str) -> set[str]:
    """Return the word and what it may be without the ending of a plural, of "rides" or "riding".

    Words match if they have a form in common, so a form that is no word does no harm.
    """
    found = {word}
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        found |= {word[:-1]}
        if word.endswith("es"):
            found |= {word[:-2]}
        if word.endswith("ies"):
            found |= {word[:-3] + "y"}
        if word.endswith("ves"):
            found |= {word[:-3] + "f", word[:-3] + "fe"}
    if word.endswith("ing") and any(vowel in word[:-3] for vowel in "aeiouy"):
        stem = word[:-3]
        found |= {stem, stem + "e"}
        if stem[-1:] == stem[-2:-1]:
            found |= {stem[:-1]}
    return {form for form in found if len(form) >= SHORTEST} | {word}


def _same(words: Sequence[str], others: Sequence[str]) -> bool:
    """Return True where two equally long phrases are the same word by word."""
    return all(_forms(a) & _forms(b) for a, b in zip(words, others, strict=True))


def _words_of(row: Row) -> tuple[list[str], list[str]]:
    """Return the words of the reference and of the answer."""
    sample = Sample.from_json(row)
    if wanted := _normal(sample.answer).split():
        return wanted, parse(row["prediction"], sample).split()
    # A reference that is only an article is looked for with articles left in.
    wanted, words = (re.findall(r"\w+", t.lower()) for t in (sample.answer, row["prediction"]))
    if not wanted:
        raise ValueError(
            f"the reference {sample.answer!r} of {sample.id!r} has no word; nothing could match it"
        )
    return wanted, words


def score_sample(row: Row) -> float:
    """Return 1 where the answer says the reference, else 0.

    A reference of yes or no: the first of these two words counts. Any other: its words must be in
    the answer, whole and in order, so that "a man is riding a horse" is right for "horse" and
    "ride". Plurals and the endings -s and -ing do not matter.

    Raises
    ------
    ValueError
        The reference has no word.

    Source
    ------
    None: the official scripts have no rule, only a judge. A rule cannot see synonyms, nor that "not
    a dog" denies; `exact` is stricter.
    """
    wanted, words = _words_of(row)
    if len(wanted) == 1 and wanted[0] in YES_NO:
        return float(next((word for word in words if word in YES_NO), "") == wanted[0])
    places = range(len(words) - len(wanted) + 1)
    return float(any(_same(words[i : i + len(wanted)], wanted) for i in places))


def exact(row: Row) -> float:
    """Return 1 where the normalised answer is the reference and nothing else, else 0."""
    wanted, words = _words_of(row)
    return float(len(words) == len(wanted) and _same(words, wanted))


def sample_stats(group: Sequence[Row]) -> Counts:
    """Return the additive counts of a group, the judge's verdicts included where there are any.

    Keys: "right", "exact" and "asked", overall; "SPLIT/right" and "SPLIT/asked"; "judged" (verdicts
    that can be used), "judge_yes", "judge_no", "judge_points" (sum of scores) and "judge_broken".

    Raises
    ------
    ValueError
        A verdict is neither usable nor marked as broken.
    """
    right = sum(score_sample(row) for row in group)
    asked = float(len(group))
    out = {"right": right, "exact": sum(exact(row) for row in group), "asked": asked}
    if split := group[0]["split"]:
        out |= {f"{split}/right": right, f"{split}/asked": asked}
    return out | count_verdicts(group, ("judge_yes", "judge_no", "judge_points"), _read)


def _read(verdict: Mapping, sample: str) -> tuple[float, float, float]:
    pred, points = verdict.get("pred"), verdict.get("score")
    whole = isinstance(points, int) and not isinstance(points, bool)
    if pred not in (*YES_NO, NEITHER) or not whole:
        raise ValueError(
            f"the verdict on {sample!r} must have pred yes or no, or {NEITHER}, and a whole score, "
            f"or a reason under broken; got {dict(verdict)!r}"
        )
    return pred == "yes", pred == "no", points


def judged_accuracy(totals: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the judge's share of yes among its yes and no, in percent.

    Source
    ------
    Video-LLaVA `eval_video_qa.py`. Difference: there, a reply that cannot be read is asked for
    again without end; one that says neither counts in the score only, as here.
    """
    return 100 * ratio(totals["judge_yes"], totals["judge_yes"] + totals["judge_no"])


def judged_score(totals: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the judge's mean score, 0 to 5, over its usable verdicts."""
    return ratio(totals["judge_points"], totals["judged"])


def score(rows: Sequence[Row]) -> dict:
    """Return the match in percent under "score", and what else there is.

    "exact" has the stricter match in percent, "parts" the match by split. Where rows carry
    verdicts, "judge" has "accuracy" in percent, "score" from 0 to 5, and how many verdicts are
    usable ("judged"), "broken" and "missing".
    """
    totals = total_of(rows, sample_stats)
    out = {
        "score": float(percent_right(totals)),
        "exact": float(100 * ratio(totals["exact"], totals["asked"])),
        "parts": accuracy_parts(totals),
    }
    return out | judge_part(totals, len(rows), accuracy=judged_accuracy, score=judged_score)
