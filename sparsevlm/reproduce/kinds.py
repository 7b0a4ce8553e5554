"""Accuracy by kind of question: what a method loses, and what it leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsevlm.miniature.card import accuracy_by_kind
from sparsevlm.reproduce.study import Results
from sparsevlm.reproduce.study_words import label

if TYPE_CHECKING:
    import pandas as pd


def frame(results: Results) -> pd.DataFrame:
    """Return percent right by kind of question, unrounded.

    Parameters
    ----------
    results : Results
        Of a study with one budget; every setting has answered the same questions.

    Returns
    -------
    DataFrame
        Rows by (benchmark, kind). Columns: number of questions, then one per method.

    Raises
    ------
    ValueError
        The study has several budgets.
    """
    import pandas as pd

    if len(results.profile.budgets) != 1:
        raise ValueError(f"expected one budget, got {results.profile.budgets}")
    cells: dict[tuple[str, str], dict[str, float]] = {}
    for (method, _, benchmark), record in results.records.items():
        found = accuracy_by_kind(benchmark, record.predictions)
        for kind, share in found["splits"].items():
            row = cells.setdefault((found["label"], kind), {})
            row["questions"] = found["split_questions"][kind]
            row[label(method)] = 100 * share
    table = pd.DataFrame.from_dict(cells, orient="index")
    return table.rename_axis(["benchmark", "kind"])
