"""Obtain every claim: compute the expressions that it holds, and judge what they give."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

import numpy as np

from sparsevlm.analysis import accounting, statistics
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.paper.claims import claim as claims
from sparsevlm.paper.claims import declared, paper, records

PROFILES = ("mini", "a100")
ALLOWED = (ast.Expression, ast.Call, ast.Name, ast.expr_context, ast.Constant, ast.List,
           ast.BinOp, ast.operator)  # fmt: skip


def collect(
    asked: Sequence[claims.Claim] | None = None,
    measures: Mapping[str, Callable[[str], object]] | None = None,
) -> claims.ClaimReport:
    """Return the report as formulas and records at hand give it, by default on all claims."""
    asked = declared.load() if asked is None else asked
    measures = records.MEASURES if measures is None else measures
    found = {name: records.ProfileRecords(name, measures) for name in PROFILES}
    entries = []
    for claim in asked:
        mini, a100 = (_from_records(claim, found[name]) for name in found)
        entries.append(claims.Entry(claim, _from_paper(claim), _from_formula(claim), mini, a100))
    missing = {name: one.missing for name, one in found.items() if one.missing}
    judges = {name: one.judges for name, one in found.items() if one.judges}
    return claims.ClaimReport(tuple(entries), missing, judges)


def _from_paper(claim: claims.Claim) -> claims.ClaimResult:
    if not claim.paper:
        return claims.NOTHING
    value = evaluate(claim.paper, public_functions(paper))
    slack = 0.0 if claim.unit in claims.COUNTS else claims.last_digit(claim.expected)
    agrees = claims.judge(claim.expected, value, slack) != claims.DEVIATES
    return claims.ClaimResult(value, claims.CONSISTENT if agrees else claims.SLIP)


def _from_formula(claim: claims.Claim) -> claims.ClaimResult:
    if not claim.analytic:
        return claims.NOTHING
    value = evaluate(claim.analytic, public_functions(accounting))
    return claims.ClaimResult(value, claims.judge(claim.expected, value, claim.tolerance))


def _from_records(claim: claims.Claim, found: records.ProfileRecords) -> claims.ClaimResult:
    if not claim.records:
        return claims.NOTHING
    found.note, queries = "", records.Queries(found)
    known = {
        name: getattr(queries, name) for name in vars(records.Queries) if not name.startswith("_")
    }
    try:
        value = evaluate(claim.records, known)
    except records.NotJudgedError as error:
        return claims.ClaimResult(None, "", str(error))
    except records.NotRunError as error:
        return claims.ClaimResult(None, claims.NOT_RUN, str(error))
    if found.profile == "mini":
        return claims.ClaimResult(value, claims.judge_miniature(value))
    if found.note:
        return claims.ClaimResult(value, claims.IN_PART, found.note)
    return claims.ClaimResult(value, claims.judge(claim.expected, value, claim.tolerance))


def public_functions(module: ModuleType) -> dict[str, Callable]:
    """Return the functions by which the claims know a module: its own, and no private ones."""
    return {
        name: one for name, one in vars(module).items()
        if getattr(one, "__module__", "") == module.__name__ and not name.startswith("_")
    }  # fmt: skip


def evaluate(expression: str, known: Mapping[str, Callable]) -> float | Estimate:
    """Compute an expression of a claim, such as `lead("FastV", 192) / 2`.

    It has known functions of literals, and arithmetic. Where they give resamples, so does the
    expression: it becomes an estimate.

    Raises
    ------
    ValueError
        It is anything else.
    """
    try:
        tree = ast.parse(expression, mode="eval")
    except SyntaxError:
        tree = ast.parse("[]", mode="eval")
    nodes = list(ast.walk(tree))
    if unknown := {node.id for node in nodes if isinstance(node, ast.Name)} - known.keys():
        raise ValueError(f"nothing that a claim asks for is called {', '.join(unknown)}")
    if not isinstance(tree.body, ast.Call | ast.BinOp) or not all(
        isinstance(node, ALLOWED) for node in nodes
    ):
        raise ValueError(
            f"a claim names functions of literals and arithmetic on them, got {expression!r}"
        )
    value = eval(compile(tree, "claim", "eval"), {"__builtins__": {}}, dict(known))
    return statistics.estimate(value) if isinstance(value, np.ndarray) else value
