"""MME: two yes/no questions per image, scored per subtask by accuracy plus accuracy+."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sparsevlm.benchmarks.counting import Counts, Row, exact_match, ratio, splits_of, total_of
from sparsevlm.benchmarks.sample import Sample

PERCEPTION = "existence count position color posters celebrity scene landmark artwork OCR".split()
COGNITION = "commonsense_reasoning numerical_calculation text_translation code_reasoning".split()


def parse(prediction: str, sample: Sample) -> str:
    """Return "yes", "no" or "other", read from the first four characters.

    Source
    ------
    MME `calculation.py`, `parse_pred_ans`. Difference: none.
    """
    start = prediction.strip().lower()[:4]
    return next((word for word in ("yes", "no") if word in start), "other")


score_sample = exact_match(parse, ignore_case=True)


def sample_stats(group: Sequence[Row]) -> Counts:
    """Return the counts of one image, given its two questions.

    Raises
    ------
    ValueError
        There are not exactly two questions, MME has no such subtask, or a reference is neither yes
        nor no.
    """
    subtask = group[0]["split"]
    if len(group) != 2:
        raise ValueError(
            f"MME image {group[0]['group']!r} needs its two questions, got {len(group)}; "
            "score whole pairs"
        )
    if subtask not in PERCEPTION + COGNITION:
        raise ValueError(
            f"unknown MME subtask {subtask!r}; known: {', '.join(PERCEPTION + COGNITION)}"
        )
    for row in group:
        if row["answer"].lower() not in ("yes", "no"):
            raise ValueError(f"MME answers are yes or no, {row['id']!r} has {row['answer']!r}")
    right = sum(score_sample(row) for row in group)
    return {
        f"{subtask}/right": right,
        f"{subtask}/asked": 2.0,
        f"{subtask}/pairs_right": float(right == 2),
        f"{subtask}/pairs": 1.0,
    }


def _subtask_score(totals: Mapping, subtask: str):
    accuracy = ratio(totals[f"{subtask}/right"], totals[f"{subtask}/asked"])
    accuracy_plus = ratio(totals[f"{subtask}/pairs_right"], totals[f"{subtask}/pairs"])
    return 100 * accuracy + 100 * accuracy_plus


def aggregate(totals: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the sum over subtasks of 100 * accuracy + 100 * accuracy+ (at most 200 each)."""
    return np.sum([_subtask_score(totals, subtask) for subtask in splits_of(totals)], axis=0)


def score(rows: Sequence[Row]) -> dict:
    """Return perception + cognition in points under "score", as the paper's column has it.

    "perception" and "cognition" are the two sums, "parts" the subtasks, "best" the points that a
    perfect model would get (2000 + 800 with all fourteen subtasks).
    """
    totals = total_of(rows, sample_stats)
    parts = {subtask: float(_subtask_score(totals, subtask)) for subtask in splits_of(totals)}
    return {
        "score": float(aggregate(totals)),
        "perception": sum(v for k, v in parts.items() if k in PERCEPTION),
        "cognition": sum(v for k, v in parts.items() if k in COGNITION),
        "best": 200.0 * len(parts),
        "parts": parts,
    }
