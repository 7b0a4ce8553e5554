"""What a judge is asked, per kind of benchmark, and how its replies are read.

The wording is this repository's own and asks for what the official prompts ask for. To judge with
an official wording, put it into a file and load it with `Prompt.from_file`; the prompt is part of
the judge's identity, so verdicts of the two are never mixed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sparsevlm.benchmarks import mmvet, videoqa
from sparsevlm.benchmarks.mmvet import EITHER
from sparsevlm.benchmarks.sample import Sample
from sparsevlm.evaluation.judges.interface import Row, Verdict
from sparsevlm.evaluation.judges.replies import read_fraction, read_strictly, read_video_reply

BOTH = "<AND>"  # MM-Vet's own mark between facts that must all be there
_FIELD = re.compile(r"\{(question|answer|prediction)\}")
_KEYS = ("system", "user", "reminder")


def reference(row: Row) -> str:
    """Return the reference as a judge reads it: the answer, or all facts with marks between them.

    Source
    ------
    MM-Vet's grading script puts blanks around <AND> and <OR>.
    """
    sample = Sample.from_json(row)
    if not sample.answers:
        return sample.answer
    spaced = (fact.replace(EITHER, f" {EITHER} ") for fact in sample.answers)
    return f" {BOTH} ".join(" ".join(fact.split()) for fact in spaced)


@dataclass(frozen=True)
class Prompt:
    """A wording.

    Attributes
    ----------
    system : str
        The system message; "" for none.
    user : str
        With {question}, {answer} and {prediction}; other braces stand for themselves.
    reminder : str
        Added, once more each time, when a reply could not be read. It also keeps the prompts of
        two tries apart, so that a judge without randomness does not repeat itself.
    """

    system: str
    user: str
    reminder: str

    def __post_init__(self) -> None:
        for name in _KEYS:
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"Prompt.{name} must be text, got {getattr(self, name)!r}")
        missing = {"question", "answer", "prediction"} - set(_FIELD.findall(self.user))
        if missing or not self.reminder.strip():
            lacking = [f"{{{name}}}" for name in sorted(missing)] or ["a reminder"]
            raise ValueError(f"a judge's prompt needs {', '.join(lacking)}; add what is missing")

    def messages(self, row: Row, tries: int = 0) -> list[dict[str, str]]:
        """Return the conversation to be answered; `tries` replies could not be read so far."""
        values = {
            "question": row["question"],
            "answer": reference(row),
            "prediction": row["prediction"],
        }
        user = _FIELD.sub(lambda field: values[field[1]], self.user)
        user += f"\n\n{self.reminder}" * tries
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": user}]

    @classmethod
    def from_file(cls, path: str | Path) -> Prompt:
        """Return the prompt of a JSON file with the keys "system", "user" and "reminder".

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            It is no such file.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} must be JSON with {', '.join(_KEYS)}; {error}") from None
        if not isinstance(values, dict) or set(values) != set(_KEYS):
            raise ValueError(f"{path} must have exactly the keys {', '.join(_KEYS)}")
        return cls(**values)


@dataclass(frozen=True)
class Task:
    """How one kind of benchmark is judged.

    Attributes
    ----------
    name : str
        "videoqa" or "mmvet".
    prompt : Prompt
        This repository's wording.
    readings : dict of (reply) -> Verdict
        Ways to read a reply, the default first; each raises `ReplyError` where there is no verdict.
    max_tokens : int
        Longest reply.
    aggregate : (summed counts) -> score
        The score of judged answers, as of `Benchmark`; it stands in the place of the match.
    unread : str
        What an answer without a readable verdict does to them, as in the official script.
    """

    name: str
    prompt: Prompt
    readings: Mapping[str, Callable[[str], Verdict]] = field(hash=False)
    max_tokens: int
    aggregate: Callable[[Mapping], object]
    unread: str


VIDEO_QA = Task(
    "videoqa",
    Prompt(
        system=(
            "You grade short answers to questions about videos. You are given a question, the "
            "correct answer and the answer to grade, and decide whether the two answers mean the "
            "same. A synonym or another way of saying it is as good as the correct answer itself."
        ),
        user=(
            "Question: {question}\n"
            "Correct answer: {answer}\n"
            "Answer to grade: {prediction}\n\n"
            "Reply with a Python dictionary and nothing else. Its key 'pred' is 'yes' if the "
            "answer is right and 'no' if it is not; its key 'score' is a whole number from 0 "
            "(nothing in common) to 5 (the same meaning). A reply looks like "
            "{'pred': 'no', 'score': 1}."
        ),
        reminder="Only the dictionary, with 'pred' ('yes' or 'no') and 'score' (0 to 5).",
    ),
    {"official": read_video_reply, "strict": read_strictly},
    max_tokens=64,
    aggregate=videoqa.judged_accuracy,
    unread="are left out",
)

MM_VET = Task(
    "mmvet",
    Prompt(
        system="",
        user=(
            "Grade an answer by how much of the reference it contains, with a number from 0.0 "
            "(nothing) to 1.0 (everything) in steps of 0.1. In a reference, all elements joined by "
            "<AND> are required, each with an equal share of the grade; of elements joined by <OR> "
            "one is enough. A long reference asks for its meaning, not its words. Examples:\n\n"
            "Question | Reference | Answer | Grade\n"
            "Which two fruits are on the plate? | apple <AND> pear | a banana | 0.0\n"
            "Which two fruits are on the plate? | apple <AND> pear | An apple. | 0.5\n"
            "Which two fruits are on the plate? | apple <AND> pear | apples or bananas | 0.5\n"
            "Which two fruits are on the plate? | apple <AND> pear | a pear and an apple | 1.0\n"
            "What sport is it? | football <OR> soccer | They play soccer. | 1.0\n"
            "Why is the sign funny? | It forbids reading signs, so whoever obeys it has already "
            "broken it. | It is a sign that says not to read something. | 0.4\n"
            "Why is the sign funny? | It forbids reading signs, so whoever obeys it has already "
            "broken it. | You can only learn of the ban by breaking it. | 1.0\n\n"
            "Grade this one; reply with the number only.\n\n"
            "{question} | {answer} | {prediction} |"
        ),
        reminder="Only the number, from 0.0 to 1.0.",
    ),
    {"number": read_fraction},
    max_tokens=8,
    aggregate=mmvet.judged_score,
    unread="count 0",
)

TASKS = {
    "tgif": VIDEO_QA,
    "msvd": VIDEO_QA,
    "msrvtt": VIDEO_QA,
    "activitynet": VIDEO_QA,
    "mmvet": MM_VET,
}
