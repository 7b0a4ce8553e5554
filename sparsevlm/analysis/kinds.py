"""Accuracy by kind of question: what a method loses, and what it leaves alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import pandas as pd

from sparsevlm.analysis.study import Results
from sparsevlm.analysis.words import label
from sparsevlm.benchmarks import BENCHMARKS


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
    if len(results.profile.budgets) != 1:
        raise ValueError(f"expected one budget, got {results.profile.budgets}")
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for (method, _, benchmark), record in results.records.items():
        found = accuracy_by_kind(benchmark, record.predictions)
        for kind, share in found["splits"].items():
            row = rows.setdefault((found["label"], kind), {})
            row["questions"] = found["split_questions"][kind]
            row[label(method)] = 100 * share
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["benchmark", "kind"])


def accuracy_by_kind(name: str, rows: Sequence[Mapping]) -> dict[str, object]:
    """Score and plain accuracy on one benchmark, and accuracy by kind of question.

    Parameters
    ----------
    name
        Of the benchmark.
    rows
        The fields of `Sample`, and "prediction".
    """
    benchmark, splits = BENCHMARKS[name], defaultdict(list)
    for row in rows:
        splits[row["split"]].append(float(benchmark.score_sample(row)))
    return {
        "label": benchmark.label,
        "questions": len(rows),
        "score": benchmark.score(rows)["score"],
        "unit": benchmark.unit,
        "accuracy": sum(map(sum, splits.values())) / len(rows),
        "splits": {k: sum(v) / len(v) for k, v in sorted(splits.items())},
        "split_questions": {k: len(v) for k, v in sorted(splits.items())},
    }
