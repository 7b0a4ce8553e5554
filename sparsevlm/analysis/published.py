"""The paper's numbers. `data/published.csv` is the only place that holds them."""

from __future__ import annotations

import csv
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
    """One published number, in the unit of the paper's column.

    Attributes
    ----------
    item : str
        The table, figure or section: "table1", "figure4", ...
    paper_version : str
        "v1" (October 2024) or "v4" (ICML 2025); the two differ in methods and numbers.
    model, method, measure : str
        As the paper writes them: "LLaVA-1.5-7B", "SparseVLM", the column.
    visual_tokens : int or str
        The budget; "dynamic" where the paper gives no number.
    """

    item: str
    paper_version: str
    model: str
    method: str
    visual_tokens: int | str
    measure: str
    value: float


@cache
def _all_rows() -> tuple[Row, ...]:
    try:
        with PUBLISHED.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"the paper's numbers are missing: {PUBLISHED}; "
            "run from a clone of the repository, installed with `pip install -e .`"
        ) from None
    for row in rows:
        tokens = row["visual_tokens"]
        row |= {"value": float(row["value"])}
        row |= {"visual_tokens": int(tokens) if tokens.isdigit() else tokens}
    return tuple(Row(**row) for row in rows)


def _choose(**wanted: object) -> tuple[Row, ...]:
    """Rows with these fields, or an error that lists what there is of the first that fits none."""
    rows = _all_rows()
    for field, one in wanted.items():
        if not (chosen := tuple(row for row in rows if getattr(row, field) == one)):
            known = ", ".join(dict.fromkeys(str(getattr(row, field)) for row in rows))
            raise ValueError(f"no published number has {field} {one!r}; known here: {known}")
        rows = chosen
    return rows


def rows(item: str, *, version: str = "v4") -> tuple[Row, ...]:
    """Every number of one table or figure, in the order of the file.

    The item is "table1", "table2", "table3", "table4", "figure4", "figure5" or "section5.3".

    Raises
    ------
    ValueError
        If nothing is published under these names; the message lists what is.
    """
    return _choose(item=item, paper_version=version)


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
    """One published number, in the unit of the paper's column, by the names that the paper uses.

    The dense LLaVA-1.5 has 576 visual tokens.

    Raises
    ------
    ValueError
        If the number is not there; the message lists what is.
    """
    setting = {"method": method, "visual_tokens": tokens, "measure": measure}
    return _choose(item=item, paper_version=version, **setting)[0].value
