"""Judging a finished record: its verdicts are kept in a file beside it, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sparsevlm.evaluation.judges.requests import Estimate, Judge, JudgeError, JudgeRequest, Verdict
from sparsevlm.evaluation.results.atomic import write_text
from sparsevlm.evaluation.results.run import ID_LENGTH, canonical_json, digest

FORMAT = 1
NAME = "verdicts"


def judge_id(judge: Judge) -> str:
    """Return sixteen hexadecimal digits that change with all that can change a verdict."""
    return digest(canonical_json(judge.identity()))


def verdict_path(record: Path, judge: Judge) -> Path:
    """Return where the verdicts of a judge on a record are, or will be: beside it."""
    return record.with_name(f"{record.stem}.{NAME}-{judge_id(judge)}.json")


def judge_rows(
    rows: Sequence[Mapping],
    judge: Judge,
    path: Path,
    *,
    confirm: Callable[[Estimate], bool],
) -> dict:
    """Return the verdicts on the rows of a record, from the file or from the judge.

    Parameters
    ----------
    rows : sequence of mapping
        The predictions of a record.
    judge : Judge
        Who judges.
    path : Path
        See `verdict_path`.
    confirm : (Estimate) -> bool
        Shown what it takes before anything is asked that is not known yet; False ends here.

    Returns
    -------
    dict
        What the file holds: "format", "judge" (identity), "judge_id", "rows" (digest of questions
        and answers), "broken" (how many verdicts are) and "verdicts" by sample id. It has no times,
        so the same replies give the same bytes.

    Raises
    ------
    JudgeError
        Not confirmed, the judge cannot go on, or the file is of other rows.
    """
    if path.exists():
        values = read_verdicts(path, rows)
        if values["judge_id"] != judge_id(judge):
            raise JudgeError(f"{path} is of another judge; delete it and judge again")
        return values
    requests = [JudgeRequest.from_row(row) for row in rows]
    estimate = judge.estimate(requests)
    if estimate.to_ask and not confirm(estimate):
        raise JudgeError(f"not confirmed, nothing was asked: {estimate}")
    verdicts = judge.verdicts(requests)
    values = {
        "format": FORMAT,
        "judge": judge.identity(),
        "judge_id": judge_id(judge),
        "rows": _rows_id(requests),
        "broken": sum(bool(verdict.broken) for verdict in verdicts),
        "verdicts": {r.id: v.to_json() for r, v in zip(requests, verdicts, strict=True)},
    }
    write_text(path, json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return values


def _rows_id(requests: Sequence[JudgeRequest]) -> str:
    """Return the digest of what is judged."""
    return digest(
        *(canonical_json([r.id, r.question, r.reference, r.prediction]) for r in requests)
    )


def read_verdicts(path: Path, rows: Sequence[Mapping]) -> dict:
    """Return the contents of a verdict file, as `judge_rows` describes them.

    Raises
    ------
    JudgeError
        It is damaged, or of other rows than these.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if missing := {"judge", "judge_id", "broken"} - values.keys():
            raise KeyError(*sorted(missing))
        this = (FORMAT, _rows_id([JudgeRequest.from_row(row) for row in rows]))
        same = (values["format"], values["rows"]) == this
        for verdict in values["verdicts"].values():
            Verdict.from_json(verdict)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JudgeError(f"{path} is damaged ({error!r}); delete it and judge again") from error
    if not same:
        raise JudgeError(f"{path} is of other answers; delete it and judge again")
    return values


def verdicts_beside(record: Path, rows: Sequence[Mapping]) -> list[dict]:
    """Return what all judges said of a record, as `judge_rows` returns it, in the order of ids.

    Raises
    ------
    JudgeError
        A file is damaged, or of other rows than these.
    """
    files = sorted(record.parent.glob(f"{record.stem}.{NAME}-{'[0-9a-f]' * ID_LENGTH}.json"))
    return [read_verdicts(path, rows) for path in files]


def with_verdicts(rows: Sequence[Mapping], verdicts: Mapping[str, Mapping]) -> list[dict]:
    """Return the rows, each with its "verdict": what a benchmark's `score` takes.

    Raises
    ------
    ValueError
        A row has none.
    """
    if missing := [row["id"] for row in rows if row["id"] not in verdicts]:
        raise ValueError(f"{len(missing)} rows have no verdict, the first is {missing[0]!r}")
    return [{**row, "verdict": dict(verdicts[row["id"]])} for row in rows]
