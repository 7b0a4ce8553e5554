"""The paper's numbers. `data/published.csv` is the only place that holds them."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from sparsevlm.evaluation.paths import DATA

PUBLISHED = DATA / "published.csv"
# The paper's names of methods, with the names that they have in `sparsevlm.METHODS`.
METHOD = {
    "Dense": "dense", "SparseVLM": "sparsevlm", "FastV": "fastv", "PDrop": "pdrop", "ToMe": "tome",
    "SparseVLM with token reconstruction": "sparsevlm",
    # Of the two readings the one that leaves as many tokens as the budget says.
    "SparseVLM without token reconstruction": "sparsevlm-no-recycling",
    "SparseVLM rated by all tokens": "sparsevlm-all-tokens",
    "SparseVLM rated by all text tokens": "sparsevlm-all-text",
    "SparseVLM rated by text raters": "sparsevlm",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One published number.

    Attributes
    ----------
    item : str
        The table, figure or section: "table1", "figure4", ...
    paper_version : str
        "v1" (October 2024) or "v4" (ICML 2025); the two differ in methods and numbers.
    model, method : str
        As the paper writes them: "LLaVA-1.5-7B", "SparseVLM".
    visual_tokens : int or str
        The budget; "dynamic" where the paper gives no number.
    measure : str
        The column.
    value : float
        In the unit of the paper's column.
    """

    item: str
    paper_version: str
    model: str
    method: str
    visual_tokens: int | str
    measure: str
    value: float


def _row(fields: dict[str, str]) -> Row:
    tokens = fields.pop("visual_tokens")
    number = float(fields.pop("value"))
    return Row(visual_tokens=int(tokens) if tokens.isdigit() else tokens, value=number, **fields)


@cache
def _all_rows() -> tuple[Row, ...]:
    try:
        with PUBLISHED.open(newline="", encoding="utf-8") as file:
            return tuple(_row(fields) for fields in csv.DictReader(file))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"the paper's numbers are missing: {PUBLISHED}; "
            "run from a clone of the repository, installed with `pip install -e .`"
        ) from None


def _choose(rows: Iterable[Row], field: str, wanted: object) -> tuple[Row, ...]:
    """Rows whose `field` is `wanted`, or an error that lists what there is."""
    rows = tuple(rows)
    chosen = tuple(row for row in rows if getattr(row, field) == wanted)
    if not chosen:
        known = ", ".join(dict.fromkeys(str(getattr(row, field)) for row in rows))
        raise ValueError(f"no published number has {field} {wanted!r}; known here: {known}")
    return chosen


def rows(item: str, *, version: str = "v4") -> tuple[Row, ...]:
    """Every number of one table or figure, in the order of the file.

    Parameters
    ----------
    item : str
        "table1", "table2", "table3", "table4", "figure4", "figure5" or "section5.3".
    version : str
        The paper's version.

    Raises
    ------
    ValueError
        If nothing is published under these names; the message lists what is.
    """
    return _choose(_choose(_all_rows(), "item", item), "paper_version", version)


class Numbers(dict):
    """The paper's numbers by (method, tokens), then by measure; KeyError that lists what is."""

    def __missing__(self, setting: tuple) -> dict[str, float]:
        known = ", ".join(f"{method} at {tokens}" for method, tokens in self)
        raise KeyError(f"the paper has no row for {setting}; it has {known}")


def by_setting(item: str, *, version: str = "v4") -> Numbers:
    """Every number of one table or figure by (method, tokens), then by measure.

    Methods are named as in `sparsevlm.METHODS`; the dense model's tokens are None. Arguments and
    errors as of `rows`.
    """
    found = Numbers()
    for row in rows(item, version=version):
        method = METHOD[row.method]
        setting = method, None if method == "dense" else row.visual_tokens
        found.setdefault(setting, {})[row.measure] = row.value
    return found


def value(item: str, method: str, tokens: int | str, measure: str, *, version: str = "v4") -> float:
    """One published number.

    Parameters
    ----------
    item, method, measure : str
        As the paper writes them, for example "table1", "SparseVLM", "POPE".
    tokens : int or str
        The budget of visual tokens; the dense LLaVA-1.5 has 576.
    version : str
        The paper's version.

    Returns
    -------
    float
        In the unit of the paper's column.

    Raises
    ------
    ValueError
        If the number is not there; the message lists what is.
    """
    chosen = rows(item, version=version)
    for field, wanted in (("method", method), ("visual_tokens", tokens), ("measure", measure)):
        chosen = _choose(chosen, field, wanted)
    return chosen[0].value
