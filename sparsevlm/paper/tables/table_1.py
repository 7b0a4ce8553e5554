"""Table 1: eight benchmarks, methods and budgets, beside the paper's own numbers.

study.py turns records into numbers. Read next: table_1_compare.py (does the paper's ranking hold
here?) and table_1_views.py (tables, files, the figure).
"""

from __future__ import annotations

from sparsevlm.analysis import published, study
from sparsevlm.analysis.study import OURS, Results, Row, Setting, from_records, settings_of
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.methods import METHODS

__all__ = [
    "OURS",
    "PAPER_DENSE_TOKENS",
    "Results",
    "Row",
    "Setting",
    "from_records",
    "measure",
    "published_row",
    "settings_of",
]

PAPER_DENSE_TOKENS = 576


def measure(profile: Profile | str) -> Results:
    """Return Table 1 of a profile from its finished records; errors as of `study.measure`."""
    return study.measure(profile, "table_1")


def published_row(method: str, tokens: int | None, version: str = "v4") -> dict[str, float]:
    """Return the paper's numbers for a setting by measure; empty where it has no such row.

    Parameters
    ----------
    method : str
        Name in `sparsevlm.METHODS`.
    tokens : int or None
        Budget; None for the dense model.
    version : str
        Of the paper; "v1" is the preprint, whose Table 1 has other numbers.
    """
    rows = published.rows("table1", version=version, model="LLaVA-1.5-7B")
    name, budget = METHODS[method].label, PAPER_DENSE_TOKENS if tokens is None else tokens
    return {r.measure: r.value for r in rows if (r.method, r.visual_tokens) == (name, budget)}
