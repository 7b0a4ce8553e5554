"""From judged answers to a score, in two steps so that a score can be resampled.

Step one turns each group (a sample, an MME pair, a circular question) into a few additive counts.
Step two turns their sums into the aggregate number. Every metric of Table 1 has this shape, F1 and
accuracy+ included, and a bootstrap only has to re-weight the groups between the two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sparsevlm.benchmarks.sample import Sample

Row = Mapping  # a prediction of a record: the fields of a Sample plus "prediction"
Counts = dict[str, float]
ScoreSample = Callable[[Row], float]


def groups_of(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of each group, groups and rows in their first order.

    Raises
    ------
    ValueError
        There are no rows, an id comes twice, or a group spans two splits.
    """
    if not rows:
        raise ValueError("a score needs at least one row, got none")
    seen: set[str] = set()
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["id"] in seen:
            raise ValueError(f"sample {row['id']!r} is there twice; each may count once")
        seen.add(row["id"])
        groups.setdefault(row["group"], []).append(row)
    for name, members in groups.items():
        if len({row["split"] for row in members}) > 1:
            raise ValueError(f"the rows of group {name!r} must share one split")
    return groups


def add_up(groups: Sequence[Counts]) -> Counts:
    """Return the sum of the groups' counts, key by key."""
    total: Counts = {}
    for counts in groups:
        for key, value in counts.items():
            total[key] = total.get(key, 0.0) + value
    return total


def ratio(part, whole):
    """Return part / whole elementwise, 0 where whole is 0 (nothing asked, or nothing found)."""
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole != 0)


def exact_match(parse: Callable[[str, Sample], str], ignore_case: bool = False) -> ScoreSample:
    """Return the scorer that gives 1 where the answer as read is the reference, else 0."""

    def score_sample(row: Row) -> float:
        sample = Sample.from_json(row)
        wanted = sample.answer.lower() if ignore_case else sample.answer
        return float(parse(row["prediction"], sample) == wanted)

    return score_sample


def share_right(score_sample: ScoreSample) -> Callable[[Sequence[Row]], Counts]:
    """Return the counting step of a plain mean over samples, overall and by split."""

    def sample_stats(group: Sequence[Row]) -> Counts:
        right = sum(score_sample(row) for row in group)
        out = {"right": right, "asked": float(len(group))}
        if split := group[0]["split"]:
            out |= {f"{split}/right": right, f"{split}/asked": float(len(group))}
        return out

    return sample_stats


def percent_right(totals: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return 100 * right / asked."""
    return 100 * ratio(totals["right"], totals["asked"])


def splits_of(totals: Mapping[str, object], suffix: str = "asked") -> list[str]:
    """Return the splits that have their own counts, sorted."""
    return sorted(k[: -len(suffix) - 1] for k in totals if k.endswith(f"/{suffix}"))


def accuracy_parts(totals: Counts) -> dict[str, float]:
    """Return the accuracy of each split, in percent."""
    return {
        split: float(100 * ratio(totals[f"{split}/right"], totals[f"{split}/asked"]))
        for split in splits_of(totals)
    }


def total_of(rows: Sequence[Row], counts: Callable[[Sequence[Row]], Counts]) -> Counts:
    """Return the summed counts of all groups of `rows`."""
    return add_up([counts(group) for group in groups_of(rows).values()])


def mean_score(rows: Sequence[Row], *, sample_stats: Callable[[Sequence[Row]], Counts]) -> dict:
    """Return the mean in percent under "score" and by split under "parts"."""
    totals = total_of(rows, sample_stats)
    return {"score": float(percent_right(totals)), "parts": accuracy_parts(totals)}


def count_verdicts(
    group: Sequence[Row], keys: Sequence[str], read: Callable[[Mapping, str], Sequence[float]]
) -> Counts:
    """Return the counts of the judge's verdicts in a group, 0 where rows carry none.

    Parameters
    ----------
    group : sequence of Row
        A row may have a "verdict"; with "broken" in it, it could not be read.
    keys : sequence of str
        Names of what is summed.
    read : callable
        ``read(verdict, id)`` returns a number for each of the keys, or raises.

    Returns
    -------
    dict
        The sums, "judged" (verdicts that can be used) and "judge_broken".
    """
    out = dict.fromkeys(("judged", *keys, "judge_broken"), 0.0)
    for row in group:
        verdict = row.get("verdict") or {}
        if verdict.get("broken"):
            out["judge_broken"] += 1
        elif verdict:
            for key, value in zip(("judged", *keys), (1, *read(verdict, row["id"])), strict=True):
                out[key] += value
    return out


def judge_part(totals: Mapping, asked: int, **numbers: Callable[[Mapping], float]) -> dict:
    """Return the entry "judge" of a score: empty where rows carry no verdicts.

    Parameters
    ----------
    totals : mapping
        With the sums of `count_verdicts`.
    asked : int
        Rows.
    **numbers
        By name, how a number follows from the totals.
    """
    judged, broken = int(totals["judged"]), int(totals["judge_broken"])
    if not judged and not broken:
        return {}
    found = {name: float(number(totals)) for name, number in numbers.items()}
    rest = {"judged": judged, "broken": broken, "missing": asked - judged - broken}
    return {"judge": {**found, **rest}}
