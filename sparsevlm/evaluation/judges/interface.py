"""What a judge is, what it says, and what asking it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Protocol

Row = Mapping  # of a record: the fields of `Sample` and "prediction"


class JudgeError(RuntimeError):
    """A judge cannot go on; the message says why, and what is kept."""


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one answer.

    Attributes
    ----------
    score : int or float or None
        Video questions: a whole number, 0 to 5 as asked. MM-Vet: a fraction from 0 to 1.
    pred : str
        Video questions: yes, no, or neither.
    broken : str
        Why there is no verdict; "" where there is one.
    """

    score: float | None = None
    pred: str = ""
    broken: str = ""

    def to_json(self) -> dict:
        """Return the row's "verdict": {"pred", "score"}, {"score"} or {"broken"}."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


@dataclass(frozen=True)
class CostEstimate:
    """What judging will take, known before it starts; estimates can be added.

    Attributes
    ----------
    to_ask : int
        Prompts that are not in the cache; equal ones are asked once.
    tokens_in, tokens_out : int
        Of these, at most as far as can be told without the judge's tokenizer.
    price : float or None
        In the currency of the prices given; None where none was given, 0.0 where nothing is paid.
    """

    answers: int
    to_ask: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    price: float | None = 0.0

    def __add__(self, other: CostEstimate) -> CostEstimate:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return CostEstimate(*(None if None in pair else sum(pair) for pair in pairs))

    def __str__(self) -> str:
        if not self.to_ask:
            return f"{self.answers} answers to judge, none of them has to be asked"
        cost = "at a price not given" if self.price is None else f"for up to {self.price:.2f}"
        return (
            f"{self.answers} answers to judge, {self.to_ask} of them to be asked {cost} "
            f"(about {self.tokens_in} tokens in, at most {self.tokens_out} out)"
        )


class Judge(Protocol):
    """Says whether answers are right."""

    def identity(self) -> dict:
        """Return all that can change a verdict, as plain JSON values; never a secret."""

    def estimate(self, rows: Sequence[Row]) -> CostEstimate:
        """Return what `verdicts` would take."""

    def verdicts(self, rows: Sequence[Row]) -> list[Verdict]:
        """Return one verdict per row, in order; broken ones say why.

        Raises
        ------
        JudgeError
            The judge cannot go on. What it said so far is kept.
        """
