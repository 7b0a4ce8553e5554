"""Judging many finished records at one price, said before the first question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sparsevlm.benchmarks import get_benchmark
from sparsevlm.evaluation.judges.apply import judge_rows, verdict_path, with_verdicts
from sparsevlm.evaluation.judges.prompts import TASKS, Task, task_of
from sparsevlm.evaluation.judges.requests import Estimate, Judge, JudgeError, JudgeRequest
from sparsevlm.evaluation.results.run import Record
from sparsevlm.evaluation.results.store import Store

FOLDER = "judges"  # of transcripts, in the folder of results

Judges = dict[str, Judge]  # by the name of the task


def transcripts_folder(store: Store) -> Path:
    """Return where the transcripts of all judges are kept."""
    return store.folder / FOLDER


def judge_records(
    records: Sequence[Record],
    store: Store,
    make: Callable[[Task], Judge],
    *,
    confirm: Callable[[Estimate], bool],
) -> Iterator[tuple[Record, dict]]:
    """Yield each record that is judged at all, with its scores, verdicts included.

    Parameters
    ----------
    records : sequence of Record
        Those of benchmarks without a judge are left out.
    store : Store
        Where the records are; the verdicts get beside them.
    make : (Task) -> Judge
        The judge of video questions, or of MM-Vet.
    confirm : (Estimate) -> bool
        Shown what all records together take, equal prompts once, before anything is asked.

    Raises
    ------
    JudgeError
        Not confirmed, or a judge cannot go on; what was said is kept, and the same call goes on.
    """
    judged = [record for record in records if record.run.benchmark in TASKS]
    tasks = {task_of(record.run.benchmark).name: task_of(record.run.benchmark) for record in judged}
    judges = {name: make(task) for name, task in tasks.items()}
    total = _estimate(judged, store, judges)
    if total.to_ask and not confirm(total):
        raise JudgeError(f"not confirmed, nothing was asked: {total}")
    for record in judged:
        judge = judges[task_of(record.run.benchmark).name]
        path = verdict_path(store.path(record.id), judge)
        values = judge_rows(record.predictions, judge, path, confirm=lambda estimate: True)
        rows = with_verdicts(record.predictions, values["verdicts"])
        yield record, get_benchmark(record.run.benchmark).score(rows)


def _estimate(records: Sequence[Record], store: Store, judges: Judges) -> Estimate:
    """Return what the records without verdicts take together."""
    requests: dict[str, list[JudgeRequest]] = {name: [] for name in judges}
    for record in records:
        name = task_of(record.run.benchmark).name
        if not verdict_path(store.path(record.id), judges[name]).exists():
            requests[name] += map(JudgeRequest.from_row, record.predictions)
    parts = [judges[name].estimate(asked) for name, asked in requests.items()]
    prices = [part.price for part in parts]
    return Estimate(
        requests=sum(part.requests for part in parts),
        to_ask=sum(part.to_ask for part in parts),
        tokens_in=sum(part.tokens_in for part in parts),
        tokens_out=sum(part.tokens_out for part in parts),
        price=None if None in prices else sum(prices),
    )
