"""Judging finished records: one price for all, shown before the first question.

The verdicts of a judge on a record are a JSON file beside it, written atomically.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from sparsevlm.benchmarks import get_benchmark
from sparsevlm.evaluation.judges.interface import CostEstimate, Judge, JudgeError, Row, Verdict
from sparsevlm.evaluation.judges.prompts import TASKS, Task, reference
from sparsevlm.evaluation.results.run import Record, canonical_json, digest
from sparsevlm.evaluation.results.store import Store
from sparsevlm.models.atomic import write_text

FORMAT = 1
FOLDER = "judges"  # of the transcripts of all judges, in the folder of results
FIRST = 20  # answers of a record; where none of their replies can be read, no more are asked for


def judge_records(
    records: Sequence[Record],
    store: Store,
    make: Callable[[Task], Judge],
    *,
    confirm: Callable[[CostEstimate], bool],
) -> Iterator[tuple[Record, dict]]:
    """Yield each record that is judged at all, with its scores, verdicts included.

    The verdicts get beside the records. `confirm` is shown what all records together take, equal
    prompts once, before anything is asked.

    Raises
    ------
    JudgeError
        Not confirmed, or a judge cannot go on; what was said is kept, and the same call goes on.
    """
    judged = [record for record in records if record.run.benchmark in TASKS]
    judges = {task: make(task) for task in dict.fromkeys(TASKS[r.run.benchmark] for r in judged)}
    open_rows: dict[Task, list[Row]] = {task: [] for task in judges}
    paths = []
    for record in judged:
        task = TASKS[record.run.benchmark]
        paths.append(verdict_path(store.path(record.id), judges[task]))
        if not paths[-1].exists():
            open_rows[task] += record.predictions
    total = sum((judges[task].estimate(rows) for task, rows in open_rows.items()), CostEstimate(0))
    if total.to_ask and not confirm(total):
        raise JudgeError(f"not confirmed, nothing was asked: {total}")
    for record, path in zip(judged, paths, strict=True):
        judge = judges[TASKS[record.run.benchmark]]
        verdicts = judge_rows(record.predictions, judge, path)["verdicts"]
        rows = [{**row, "verdict": verdicts[row["id"]]} for row in record.predictions]
        yield record, get_benchmark(record.run.benchmark).score(rows)


def verdict_path(record: Path, judge: Judge) -> Path:
    """Return where the verdicts of a judge on a record are, or will be: beside it."""
    return record.with_name(f"{record.stem}.verdicts-{judge_id(judge.identity())}.json")


def verdict_paths(run_id: str, store: Store) -> list[Path]:
    """Return the files with verdicts on a run, of all judges, sorted."""
    return sorted(store.path(run_id).parent.glob(f"{run_id}.verdicts-*.json"))


def judge_rows(rows: Sequence[Row], judge: Judge, path: Path) -> dict:
    """Return the verdicts on the predictions of a record, from the file or from the judge.

    Returns
    -------
    dict
        What the file holds: "format", "judge" (identity), "judge_id", "rows" (digest of questions
        and answers), "broken" (how many verdicts are) and "verdicts" by sample id. It has no times,
        so the same replies give the same bytes.

    Raises
    ------
    JudgeError
        The judge cannot go on, no verdict of its first replies can be read, or not even half of
        all; or the file is damaged, of other rows or of another judge.
    """
    if path.exists():
        return read_verdicts(path, rows, judge.identity())
    verdicts = judge.verdicts(rows[:FIRST])
    if all(verdict.broken for verdict in verdicts):
        raise _unreadable(verdicts)
    verdicts += judge.verdicts(rows[FIRST:])
    if sum(bool(verdict.broken) for verdict in verdicts) > len(verdicts) / 2:
        raise _unreadable(verdicts)
    values = {
        **_about(rows, judge.identity()),
        "broken": sum(bool(verdict.broken) for verdict in verdicts),
        "verdicts": {row["id"]: v.to_json() for row, v in zip(rows, verdicts, strict=True)},
    }
    write_text(path, json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return values


def _unreadable(verdicts: Sequence[Verdict]) -> JudgeError:
    reasons = [verdict.broken for verdict in verdicts if verdict.broken]
    return JudgeError(
        f"no score, for {len(reasons)} of the judge's {len(verdicts)} verdicts cannot be read (the "
        f"first: {reasons[0]}); take another model, --prompt or --max-tokens"
    )


def judge_id(identity: Mapping) -> str:
    """Return sixteen hexadecimal digits that change with all that can change a verdict."""
    return digest(canonical_json(identity))


def _about(rows: Sequence[Row], identity: Mapping) -> dict:
    judged = ([row["id"], row["question"], reference(row), row["prediction"]] for row in rows)
    return {
        "format": FORMAT,
        "judge": identity,
        "judge_id": judge_id(identity),
        "rows": digest(*map(canonical_json, judged)),
    }


def read_verdicts(path: Path, rows: Sequence[Row], identity: Mapping | None = None) -> dict:
    """Return what a file of verdicts on rows holds; arguments and errors as of `judge_rows`.

    `identity` is that of the judge; None for whichever the file names.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        about = _about(rows, values["judge"] if identity is None else identity)
        ids = {row["id"] for row in rows}
        if values.keys() != {*about, "broken", "verdicts"}:
            raise ValueError("it lacks a field, or has one too many")
        differing = [key for key in about if values[key] != about[key]]
        broken = sum(bool(Verdict(**v).broken) for v in values["verdicts"].values())
        if not differing and (
            values["verdicts"].keys() != ids
            or broken != values["broken"]
            or not all(values["verdicts"].values())
        ):
            raise ValueError("a verdict is missing, or wrongly counted")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JudgeError(f"{path} is damaged ({error!r}); delete it and judge again") from error
    if differing:
        other = "another judge" if "judge_id" in differing else "other answers"
        raise JudgeError(f"{path} is of {other}; delete it and judge again")
    return values
