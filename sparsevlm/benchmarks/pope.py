"""POPE: is this object in the image? Three ways to choose the absent ones; mean of the three F1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sparsevlm.benchmarks.counting import Counts, Row, exact_match, ratio, splits_of, total_of
from sparsevlm.benchmarks.sample import Sample

SPLITS = ("random", "popular", "adversarial")


def parse(prediction: str, sample: Sample) -> str:
    """Return "no" where a word of the first sentence is No, no or not, else "yes".

    Source
    ------
    LLaVA `llava/eval/eval_pope.py`. Difference: none; an empty answer and "NO" count as yes there.
    """
    words = prediction.strip().split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


score_sample = exact_match(parse, ignore_case=True)


def sample_stats(group: Sequence[Row]) -> Counts:
    """Return the confusion counts of a group, by split.

    Raises
    ------
    ValueError
        POPE has no such split, or the reference is neither yes nor no.
    """
    split = group[0]["split"]
    if split not in SPLITS:
        raise ValueError(f"unknown POPE split {split!r}; known: {', '.join(SPLITS)}")
    out = {f"{split}/{key}": 0.0 for key in ("asked", "yes", "tp", "fp", "tn", "fn")}
    for row in group:
        if row["answer"].lower() not in ("yes", "no"):
            raise ValueError(f"POPE answers are yes or no, {row['id']!r} has {row['answer']!r}")
        says_yes = parse(row["prediction"], Sample.from_json(row)) == "yes"
        out[f"{split}/asked"] += 1
        out[f"{split}/yes"] += says_yes
        out[f"{split}/{'t' if score_sample(row) else 'f'}{'p' if says_yes else 'n'}"] += 1
    return out


def _f1(totals: Mapping, split: str):
    true_positives = totals[f"{split}/tp"]
    return 100 * ratio(
        2 * true_positives, 2 * true_positives + totals[f"{split}/fp"] + totals[f"{split}/fn"]
    )


def aggregate(totals: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the mean over splits of F1 in percent.

    Source
    ------
    Table 1's 85.9 is this mean. Difference: F1 is 0 where nothing is found, not a division by zero.
    """
    return np.mean([_f1(totals, split) for split in splits_of(totals)], axis=0)


def _parts(totals: Mapping, split: str) -> dict[str, float]:
    share = {k: float(totals[f"{split}/{k}"]) for k in ("asked", "yes", "tp", "fp", "tn", "fn")}
    return {
        "f1": float(_f1(totals, split)),
        "accuracy": 100 * (share["tp"] + share["tn"]) / share["asked"],
        "precision": float(100 * ratio(share["tp"], share["tp"] + share["fp"])),
        "recall": float(100 * ratio(share["tp"], share["tp"] + share["fn"])),
        "yes_ratio": 100 * share["yes"] / share["asked"],
    }


def score(rows: Sequence[Row]) -> dict:
    """Return the mean F1 in percent under "score".

    "parts" has F1, accuracy, precision, recall and the share of yes, in percent, of each split.
    """
    totals = total_of(rows, sample_stats)
    return {
        "score": float(aggregate(totals)),
        "parts": {split: _parts(totals, split) for split in splits_of(totals)},
    }
