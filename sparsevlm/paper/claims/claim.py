"""A claim: what the paper says, what was obtained, and the verdict.

Read next: declared.py (the list of claims), collect.py with paper.py, records.py and
`analysis.accounting` (how a value is obtained), page.py (CLAIMS.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from sparsevlm.analysis.statistics import Estimate

REPRODUCED, WITHIN, DEVIATES = "reproduced", "within tolerance", "deviates"
NOT_RUN, NOT_TESTABLE = "not run", "not testable here"
CANNOT_TELL = "cannot tell"
IN_PART = "measured in part"
CONSISTENT, SLIP = "consistent in itself", "slip of the paper"
HOLDS, HOLDS_NOT = "holds on the miniature", "does not hold on the miniature"
MINI_CANNOT_TELL = "the miniature cannot tell"
ON_MINIATURE = (HOLDS, HOLDS_NOT, MINI_CANNOT_TELL)
VERDICTS = (
    REPRODUCED, WITHIN, DEVIATES, CANNOT_TELL, IN_PART, CONSISTENT, SLIP, NOT_TESTABLE, NOT_RUN,
)  # fmt: skip
POSITIVE = "> 0"
COUNTS = ("scores", "budgets")  # units that are counted, not rounded
ROUNDING = 1e-6


@dataclass(frozen=True)
class Claim:
    """One number, or one ordering, that the paper states.

    Attributes
    ----------
    notebook : str
        The notebook that shows it, or will.
    place, statement : str
        Where the paper says it, and what.
    expected : str
        As printed, so that its precision is known; "> 0" for an ordering; "" where the paper's
        value cannot be compared.
    tolerance : float or None
        Largest deviation of an obtained value that counts as the same. Arithmetic on the paper's
        own numbers has no say in it: it may be off by one in the last printed digit, a count not.
    paper, analytic, records : str
        Expressions of named functions: arithmetic on the paper's own numbers (paper.py), our
        formulas without a model (`analysis.accounting`), results of runs (records.py).
    needs : str
        The measurement that is not written yet.
    untestable : str
        Why it cannot be tested here at all.
    is_cell : bool
        One cell of a table, folded away on the page.
    """

    id: str
    notebook: str
    place: str
    statement: str
    expected: str = ""
    tolerance: float | None = None
    unit: str = ""
    paper: str = ""
    analytic: str = ""
    records: str = ""
    needs: str = ""
    untestable: str = ""
    falsified_by: str = ""
    is_cell: bool = False


@dataclass(frozen=True)
class ClaimResult:
    """What one source says of a claim; `value` is None where it has nothing to say.

    A difference of methods comes as an `Estimate`, with its interval. The verdict is "" where a
    value of the miniature stands beside a number of LLaVA: they are not compared. `why` says why
    there is no value, or of which part of the data it is.
    """

    value: float | Estimate | None
    verdict: str
    why: str = ""


NOTHING = ClaimResult(None, "")


@dataclass(frozen=True)
class Entry:
    """A claim with what was found.

    From the paper's own numbers, from our formulas, from either profile's records.
    """

    claim: Claim
    paper: ClaimResult = NOTHING
    analytic: ClaimResult = NOTHING
    mini: ClaimResult = NOTHING
    a100: ClaimResult = NOTHING

    @property
    def verdict(self) -> str:
        """The verdict on the paper's number, which a miniature never gives."""
        claim = self.claim
        if claim.untestable:
            return NOT_TESTABLE
        if self.a100.value is not None:
            return self.a100.verdict
        if self.analytic.value is not None:
            return self.analytic.verdict
        if claim.records or claim.needs:
            return NOT_RUN
        return self.paper.verdict or NOT_TESTABLE

    @property
    def reason(self) -> str:
        """Why there is no verdict yet; "" where there is one."""
        if self.verdict == NOT_TESTABLE:
            return self.claim.untestable
        if self.verdict == NOT_RUN and self.claim.needs:
            return f"needs {self.claim.needs}"
        return self.a100.why if self.verdict in (NOT_RUN, IN_PART) else ""


def judge(expected: str, value: float | Estimate, tolerance: float | None) -> str:
    """Compare a value with what the paper prints: a number, or "> 0".

    Returns
    -------
    str
        "reproduced" where it rounds to the printed number, or lies above zero by its interval;
        "within tolerance", "deviates", or "cannot tell" for an interval that holds zero.
    """
    if expected == POSITIVE:
        if not isinstance(value, Estimate):
            raise TypeError(f"an ordering needs an estimate with its interval, got {value!r}")
        if not value.excludes_zero:
            return CANNOT_TELL
        return REPRODUCED if value.low > 0 else DEVIATES
    number = value.value if isinstance(value, Estimate) else value
    gap = abs(number - float(expected))
    if gap <= 0.5 * last_digit(expected) + ROUNDING:
        return REPRODUCED
    return WITHIN if gap <= (tolerance or 0) + ROUNDING else DEVIATES


def last_digit(printed: str) -> float:
    """Return what one in the last digit of a printed number is worth: 0.1 for "62.8"."""
    return 10.0 ** -len(printed.partition(".")[2])


def judge_miniature(value: float | Estimate) -> str:
    """Return what a miniature can say: whether the direction holds; "" for a plain value."""
    if not isinstance(value, Estimate):
        return ""
    if not value.excludes_zero:
        return MINI_CANNOT_TELL
    return HOLDS if value.low > 0 else HOLDS_NOT


@dataclass(frozen=True)
class ClaimReport:
    """All claims with all findings, in the order of the declaration.

    By profile, `missing` says why its records could not be read, and `judges` who judged its open
    answers, where anybody did.
    """

    entries: tuple[Entry, ...]
    missing: dict[str, str]
    judges: dict[str, str] = field(default_factory=dict)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many claims have which verdict."""
        verdicts = [entry.verdict for entry in self.entries]
        return {name: verdicts.count(name) for name in VERDICTS if name in verdicts}

    @cached_property
    def on_miniature(self) -> dict[str, int]:
        """How many directions hold on the miniature, do not, and cannot be told."""
        verdicts = [entry.mini.verdict for entry in self.entries]
        return {name: verdicts.count(name) for name in ON_MINIATURE if name in verdicts}

    def of(self, notebook: str) -> list[Entry]:
        """Return the entries that one notebook shows."""
        return [entry for entry in self.entries if entry.claim.notebook == notebook]
