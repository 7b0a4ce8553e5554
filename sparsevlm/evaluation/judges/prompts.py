"""What a judge is asked, per kind of benchmark, and how its replies are read.

The wording is this repository's own (data/judges) and asks for what the official prompts ask for.
To judge with an official wording, put it into a file and load it with `Prompt.from_file`; the
prompt is part of the judge's identity, so verdicts of the two are never mixed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from sparsevlm.benchmarks import mmvet, videoqa
from sparsevlm.benchmarks.mmvet import EITHER
from sparsevlm.benchmarks.sample import Sample
from sparsevlm.evaluation.judges.interface import Row, Verdict
from sparsevlm.evaluation.judges.replies import read_fraction, read_strictly, read_video_reply
from sparsevlm.evaluation.paths import DATA

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
    """A wording; without a system message where that is "".

    Attributes
    ----------
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
        """Return the prompt of a YAML or JSON file: "system", "user" and "reminder".

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            It is no such file.
        """
        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (ValueError, yaml.YAMLError) as error:
            why = " ".join(str(error).split())
            raise ValueError(
                f"{path} must be JSON or YAML with {', '.join(_KEYS)}; {why}"
            ) from None
        if not isinstance(values, dict) or set(values) != set(_KEYS):
            raise ValueError(f"{path} must have exactly the keys {', '.join(_KEYS)}")
        return cls(**values)


@dataclass(frozen=True)
class Task:
    """How one kind of benchmark ("videoqa" or "mmvet") is judged.

    Attributes
    ----------
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
    Prompt.from_file(DATA / "judges" / "videoqa.yaml"),
    {"official": read_video_reply, "strict": read_strictly},
    max_tokens=64,
    aggregate=videoqa.judged_accuracy,
    unread="are left out",
)

MM_VET = Task(
    "mmvet",
    Prompt.from_file(DATA / "judges" / "mmvet.yaml"),
    {"number": read_fraction},
    max_tokens=8,
    aggregate=mmvet.judged_score,
    unread="count 0",
)

TASKS = {**dict.fromkeys(("tgif", "msvd", "msrvtt", "activitynet"), VIDEO_QA), "mmvet": MM_VET}
