"""MMBench: multiple choice asked once per rotation of its options.

A question counts only if every rotation is answered right (circular evaluation). Answers are read
by the rules of VLMEvalKit, which changed in 2025; `answers.READINGS` names the versions.
"""

from __future__ import annotations

from collections.abc import Sequence

from sparsevlm.benchmarks.answers import CURRENT, infer_option
from sparsevlm.benchmarks.counting import (
    Counts,
    Row,
    accuracy_parts,
    percent_right,
    ratio,
    share_right,
    total_of,
)
from sparsevlm.benchmarks.sample import Sample

ROTATION = 1_000_000  # question q has rows q, q + ROTATION, q + 2 * ROTATION, ...


def parse(prediction: str, sample: Sample, reading: str = CURRENT) -> str:
    """Return the letter that an answer picks, "Z" for no option, "" where it cannot be read.

    See `sparsevlm.benchmarks.answers.infer_option`.
    """
    return infer_option(prediction, sample.options, reading)


def score_sample(row: Row, reading: str = CURRENT) -> float:
    """Return 1 where the answer as read is the reference, else 0."""
    sample = Sample.from_json(row)
    return float(parse(row["prediction"], sample, reading) == sample.answer)


def _rotations(group: Sequence[Row]) -> Sequence[Row]:
    """Return the rotations of a question, the original first.

    Some questions of the official table have fewer rotations than options, because the last option
    ("All above are not right") stays where it is; so a question is whole if its rows are contiguous
    from its own and as many as there are options that move.
    """
    name, rows = group[0]["group"], group
    ids = [row["id"] for row in rows]
    if all(i.isdecimal() and str(int(i) % ROTATION) == name for i in ids):  # an official table
        rows = sorted(rows, key=lambda row: int(row["id"]))
        wanted = [int(name) + turn * ROTATION for turn in range(len(rows))]
        if lacking := sorted(set(wanted) - set(map(int, ids))):
            raise ValueError(
                f"MMBench question {name!r} lacks its rotation {lacking[0]}: rotations must be "
                f"contiguous from {name} on, got {', '.join(ids)}; score whole groups"
            )
    expected = _moving(rows)
    if len(rows) < expected:
        raise ValueError(
            f"MMBench question {name!r} needs its {expected} rotations, "
            f"got {len(rows)}; score whole groups"
        )
    return rows


def _moving(rows: Sequence[Row]) -> int:
    """Return how many options move from the original to its first rotation, 1 if unclear."""
    first, *rest = (list(row["options"]) for row in rows)
    if not rest:
        return len(first)
    for n in range(2, len(first) + 1):
        left, right = [*first[1:n], first[0]], [first[n - 1], *first[: n - 1]]
        if rest[0] in (left + first[n:], right + first[n:]):
            return n
    return 1


def sample_stats(group: Sequence[Row], reading: str = CURRENT) -> Counts:
    """Return the counts of one question, given all its rotations.

    Rows with the indices of the official table may come in any order, others the original first.

    Raises
    ------
    ValueError
        A rotation is missing.
    """
    rows = _rotations(group)
    read = [parse(row["prediction"], Sample.from_json(row), reading) for row in rows]
    right = [letter == row["answer"] for letter, row in zip(read, rows, strict=True)]
    whole = {**rows[0], "right": float(all(right))}
    counts = share_right(lambda row: row["right"])([whole])
    return counts | {"vanilla_right": float(right[0]), "unread": float(read.count(""))}


def score(rows: Sequence[Row], reading: str = CURRENT) -> dict:
    """Return the circular accuracy in percent under "score".

    "vanilla" asks only the original order of the options; "parts" is circular, per ability;
    "unread" is how many answers no rule can read, which the official pipeline gives to a judge.
    """
    totals = total_of(rows, lambda group: sample_stats(group, reading))
    vanilla = float(100 * ratio(totals["vanilla_right"], totals["asked"]))
    return {
        "score": float(percent_right(totals)),
        "vanilla": vanilla,
        "unread": int(totals["unread"]),
        "parts": accuracy_parts(totals),
    }
