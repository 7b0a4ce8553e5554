"""What a judge is asked, what it says, and what a judge is.

Read next: prompts.py (the wording), replies.py (reading what comes back), chat.py (asking a model).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sparsevlm.benchmarks.mmvet import EITHER
from sparsevlm.benchmarks.sample import Sample

BOTH = "<AND>"  # MM-Vet's own mark between facts that must all be there


class JudgeError(RuntimeError):
    """A judge cannot go on; the message says why, and what is kept."""


@dataclass(frozen=True)
class JudgeRequest:
    """One answer to be judged.

    Attributes
    ----------
    id : str
        Of the sample.
    question, prediction : str
        What was asked, and what the model answered.
    answer : str
        The reference.
    facts : tuple of str
        MM-Vet: the required facts, in place of `answer`; wordings of one fact are joined by <OR>.
    """

    id: str
    question: str
    answer: str
    prediction: str
    facts: tuple[str, ...] = ()

    @classmethod
    def from_row(cls, row: Mapping) -> JudgeRequest:
        """Return the request for a row of a record."""
        sample = Sample.from_json(row)
        return cls(sample.id, sample.question, sample.answer, row["prediction"], sample.answers)

    @property
    def reference(self) -> str:
        """The reference as a judge reads it: the answer, or all facts with marks between them.

        EvalBackend
        ------
        MM-Vet's grading script puts blanks around <AND> and <OR>.
        """
        if not self.facts:
            return self.answer
        spaced = (fact.replace(EITHER, f" {EITHER} ") for fact in self.facts)
        return f" {BOTH} ".join(" ".join(fact.split()) for fact in spaced)


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one answer.

    Attributes
    ----------
    score : int or float or None
        Video questions: a whole number from 0 to 5. MM-Vet: a fraction from 0 to 1.
    pred : str
        Video questions: yes or no.
    broken : str
        Why there is no verdict; "" where there is one.
    """

    score: float | None = None
    pred: str = ""
    broken: str = ""

    def to_json(self) -> dict:
        """Return the row's "verdict": {"pred", "score"}, {"score"} or {"broken"}."""
        if self.broken:
            return {"broken": self.broken}
        return {"pred": self.pred, "score": self.score} if self.pred else {"score": self.score}

    @classmethod
    def from_json(cls, values: Mapping) -> Verdict:
        """Return the verdict of `to_json`."""
        return cls(**values)


@dataclass(frozen=True)
class Estimate:
    """What judging will take, known before it starts.

    Attributes
    ----------
    requests : int
        Answers to be judged.
    to_ask : int
        Prompts that are not in the cache; equal ones are asked once.
    tokens_in, tokens_out : int
        Of these, at most as far as can be told without the judge's tokenizer.
    price : float or None
        In the currency of the prices given; None where none was given, 0.0 where nothing is paid.
    """

    requests: int
    to_ask: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    price: float | None = 0.0

    def __str__(self) -> str:
        """One sentence for the user."""
        if not self.to_ask:
            return f"{self.requests} answers to judge, none of them has to be asked"
        cost = "at a price not given" if self.price is None else f"for up to {self.price:.2f}"
        return (
            f"{self.requests} answers to judge, {self.to_ask} of them to be asked {cost} "
            f"(about {self.tokens_in} tokens in, at most {self.tokens_out} out)"
        )


class Judge(Protocol):
    """Says whether answers are right."""

    def identity(self) -> dict:
        """Return all that can change a verdict, as plain JSON values; never a secret."""

    def estimate(self, requests: Sequence[JudgeRequest]) -> Estimate:
        """Return what `verdicts` would take."""

    def verdicts(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        """Return one verdict per request, in order.

        Raises
        ------
        JudgeError
            The judge cannot go on. What it said so far is kept.
        """
