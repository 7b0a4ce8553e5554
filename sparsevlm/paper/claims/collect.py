"""Obtain every claim: call the functions that it names, and judge what they return."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

from sparsevlm.analysis import accounting
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.paper.claims import declared, paper, records
from sparsevlm.paper.claims.claim import (
    CONSISTENT,
    COUNTS,
    DEVIATES,
    IN_PART,
    NOT_RUN,
    NOTHING,
    SLIP,
    Claim,
    ClaimReport,
    ClaimResult,
    Entry,
    judge,
    judge_miniature,
    last_digit,
)
from sparsevlm.paper.claims.measures import MEASURES, NotJudgedError, NotRunError, ProfileRecords

PROFILES = ("mini", "a100")


def collect(
    claims: Sequence[Claim] | None = None,
    measures: Mapping[str, Callable[[str], object]] | None = None,
) -> ClaimReport:
    """Return the report as formulas and records at hand give it.

    Parameters
    ----------
    claims : sequence of Claim, optional
        Default: those that are declared.
    measures : mapping, optional
        Default: `measures.MEASURES`.
    """
    claims = declared.load() if claims is None else claims
    measures = MEASURES if measures is None else measures
    found = {name: ProfileRecords(name, measures) for name in PROFILES}
    entries = []
    for claim in claims:
        mini, a100 = (_from_records(claim, found[name]) for name in found)
        entries.append(Entry(claim, _from_paper(claim), _from_formula(claim), mini, a100))
    missing = {name: one.missing for name, one in found.items() if one.missing}
    judges = {name: one.judges for name, one in found.items() if one.judges}
    return ClaimReport(tuple(entries), missing, judges)


def _from_paper(claim: Claim) -> ClaimResult:
    if not claim.paper:
        return NOTHING
    value = evaluate(claim.paper, paper)
    slack = 0.0 if claim.unit in COUNTS else last_digit(claim.expected)
    agrees = judge(claim.expected, value, slack) != DEVIATES
    return ClaimResult(value, CONSISTENT if agrees else SLIP)


def _from_formula(claim: Claim) -> ClaimResult:
    if not claim.analytic:
        return NOTHING
    value = evaluate(claim.analytic, accounting)
    return ClaimResult(value, judge(claim.expected, value, claim.tolerance))


def _from_records(claim: Claim, found: ProfileRecords) -> ClaimResult:
    if not claim.records:
        return NOTHING
    found.note = ""
    try:
        value = evaluate(claim.records, records, found)
    except NotJudgedError as error:
        return ClaimResult(None, "", str(error))
    except NotRunError as error:
        return ClaimResult(None, NOT_RUN, str(error))
    if found.profile == "mini":
        return ClaimResult(value, judge_miniature(value))
    if found.note:
        return ClaimResult(value, IN_PART, found.note)
    return ClaimResult(value, judge(claim.expected, value, claim.tolerance))


def evaluate(call: str, module: ModuleType, *first: object) -> float | Estimate:
    """Call a public function of a module as a claim names it: `lead("FastV", 192)`.

    Raises
    ------
    ValueError
        If it is not one call of a known function with literal arguments.
    """
    try:
        node = ast.parse(call, mode="eval").body
        name, arguments = node.func.id, [ast.literal_eval(item) for item in node.args]
    except (SyntaxError, AttributeError, ValueError):
        raise ValueError(
            f"a claim names one function with literal arguments, got {call!r}"
        ) from None
    function = getattr(module, name, None)
    own = getattr(function, "__module__", None) == getattr(module, "__name__", "")
    if name.startswith("_") or not callable(function) or not own:
        raise ValueError(f"{module.__name__} has no function {name!r}, which a claim asks for")
    return function(*first, *arguments)
