"""Reading a judge's reply: as the official script does, or strictly in content."""

from __future__ import annotations

import ast
import json
import re

from sparsevlm.benchmarks.videoqa import BEST, NEITHER, YES_NO
from sparsevlm.evaluation.judges.interface import Verdict

FORMAT = 4  # to be raised with every change here that reads a reply differently
LONGEST = 10_000  # characters; nothing that long is a verdict
_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_NO_LITERAL = (
    ValueError, SyntaxError, TypeError, AttributeError, MemoryError, RecursionError,
)  # fmt: skip
_GRADE = re.compile(r"(?<!\w)[-+]?\.?\d[\w.,/+-]*(?:\s*%)?")  # with all that may change it
_OUT_OF = rf"(?:\s*(?:/|out of)\s*{_NUMBER})"


class ReplyError(ValueError):
    """The reply holds no verdict; the message says why."""


def read_video_reply(reply: str) -> Verdict:
    """Return the verdict of a reply that should be {'pred': 'yes', 'score': 4}.

    A `pred` that contains yes anywhere is yes, else one that contains no anywhere is no ("not
    sure"), else it is neither and counts in the mean score only. Any number is a score, cut down to
    a whole one.

    Raises
    ------
    ReplyError
        See `read_strictly`, which reads what the official script cannot.

    Source
    ------
    Video-ChatGPT `evaluate_activitynet_qa.py`, and Video-LLaVA `eval_video_qa.py` after it.
    Difference: thoughts before the reply are left out, whose models came later; a reply that they
    drop and ask for again (fences, text around it) is read strictly;
    so is one without a `pred` of text or a number, at which the first stops, and of which the
    second counts the number in the mean score, or 0.
    """
    try:
        fields = ast.literal_eval(spoken(reply))
        score, pred = int(fields["score"]), fields["pred"].lower()
        float(score)  # the mean of all is one
        said = next((word for word in YES_NO if word in pred), NEITHER)
    except (*_NO_LITERAL, LookupError, OverflowError):
        return read_strictly(reply)
    return Verdict(pred=said, score=score)


def read_strictly(reply: str) -> Verdict:
    """Return the verdict of a reply that should be {'pred': 'yes', 'score': 4}, by its meaning.

    Read too: JSON, code fences, text around it, thoughts before it, a missing brace, capitals, True
    for yes, a score as "4", 4.8 (cut down to 4), "4/5" or "4 out of 5".

    Raises
    ------
    ReplyError
        `pred` is not yes or no, `score` is not from 0 to 5, or one is missing or comes twice and
        differs.

    Source
    ------
    None; see `read_video_reply`.
    """
    reply = spoken(reply)
    if len(reply) > LONGEST:
        raise ReplyError(f"the reply has {len(reply)} characters, too many for a verdict")
    verdicts = {_video_verdict(fields) for fields in _dictionaries(reply) or [_pairs(reply)]}
    if len(verdicts) > 1:
        raise ReplyError("the reply holds several verdicts that differ")
    return verdicts.pop()


def read_fraction(reply: str) -> Verdict:
    """Return the verdict of a reply that should be a number from 0 to 1: the first one in it.

    Raises
    ------
    ReplyError
        There is no number, or it is a percentage, a range, a fraction of anything but 1, or out of
        range.

    Source
    ------
    MM-Vet's grading script. Difference: it takes the first word only, and gives 0 after five tries.
    """
    match = _GRADE.search(spoken(reply)[:LONGEST])
    if match is None:
        raise ReplyError("the reply holds no number")
    try:
        score = float(re.sub(r"/1(\.0+)?$", "", match[0].rstrip(".,")))
    except ValueError:
        raise ReplyError(f"the score must be a plain number, the reply has {match[0]}") from None
    if not 0 <= score <= 1:
        raise ReplyError(f"the score must be from 0 to 1, the reply has {match[0]}")
    return Verdict(score=score)


def spoken(reply: str) -> str:
    """Return the reply without the thoughts that some models write first, ended or not."""
    _, end, said = reply.rpartition("</think>")
    return said if end else reply.partition("<think>")[0]


def _dictionaries(reply: str) -> list[dict]:
    """Return the JSON or Python dictionaries in a text that look like verdicts.

    What is inside of such a one is a part of it, not a verdict of its own.
    """
    found, end = [], 0
    for start, stop in _braces(reply):
        if start >= end and {"pred", "score"} & (fields := _fields(reply[start:stop])).keys():
            found.append(fields)
            end = stop
    return found


def _braces(text: str) -> list[tuple[int, int]]:
    """Return where every pair of braces starts and stops, the outer before the inner."""
    opened, found = [], []
    for place, letter in enumerate(text):
        if letter == "{":
            opened.append(place)
        elif letter == "}" and opened:
            found.append((opened.pop(), place + 1))
    return sorted(found)


def _fields(text: str) -> dict:
    for read in (json.loads, ast.literal_eval):
        try:
            return {str(key).lower(): value for key, value in read(text).items()}
        except _NO_LITERAL:
            continue
    return {}


def _pairs(reply: str) -> dict:
    """Read the two values out of text that is no dictionary."""
    preds = set(re.findall(r"\bpred\W{1,5}(yes|no|true|false)\b", reply, re.IGNORECASE))
    scores = set(re.findall(rf"\bscore\W{{0,4}}?({_NUMBER}{_OUT_OF}?)", reply, re.IGNORECASE))
    if len(preds) > 1 or len(scores) > 1:
        raise ReplyError("the reply holds several verdicts that differ")
    return {"pred": preds.pop()} | ({"score": scores.pop()} if scores else {}) if preds else {}


def _video_verdict(fields: dict) -> Verdict:
    if missing := [key for key in ("pred", "score") if key not in fields]:
        raise ReplyError(f"the reply lacks {' and '.join(missing)}")
    pred = str(fields["pred"]).strip(" .!'\"\n").lower()
    pred = {"true": "yes", "false": "no"}.get(pred, pred)
    if pred not in YES_NO:
        raise ReplyError(f"pred must be yes or no, the reply has {fields['pred']!r}"[:200])
    return Verdict(pred=pred, score=_whole_score(fields["score"]))


def _whole_score(value: object) -> int:
    if isinstance(value, str):
        shape = rf"\s*({_NUMBER})\s*(?:(?:/|out of)\s*{BEST}(?:\.0+)?)?\s*"
        match = re.fullmatch(shape, value, re.IGNORECASE)
        value = float(match[1]) if match else None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= BEST:
        raise ReplyError(f"score must be a number from 0 to {BEST}, the reply has {value!r}"[:200])
    return int(value)
