"""Running runs and reading their records: what the command line, tables and figures call."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from queue import Empty

from sparsevlm.evaluation.plan import as_profile, plan_runs, source_of
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.results.failures import (
    OpenSamplesError,
    RunBusyError,
    RunError,
    Unfinished,
)
from sparsevlm.evaluation.results.run import EvaluationRun, Record
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.sources import Source

__all__ = [
    "EvaluationRun",
    "RunBusyError",
    "Record",
    "Store",
    "RunError",
    "OpenSamplesError",
    "load_records",
    "missing_runs",
    "plan_runs",
    "execute_runs",
]

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2


def missing_runs(runs: Iterable[EvaluationRun], store: Store | None = None) -> list[EvaluationRun]:
    """Return the runs that are not finished, each once, in order."""
    store = store or Store()
    return [run for run in dict.fromkeys(runs) if not store.has(run)]


def load_records(
    profile: Profile | str, *, source: Source | None = None, store: Store | None = None
) -> list[Record]:
    """Return the record of every run of a profile; reads files only, no torch.

    Predictions are read when they are used (`record_files.Rows`).

    Raises
    ------
    FileNotFoundError
        Some runs are not finished; the message says how many and how to run them.
    """
    profile, store = as_profile(profile), store or Store()
    runs = plan_runs(profile, source=source or source_of(profile), store=store)
    if missing := missing_runs(runs, store):
        raise FileNotFoundError(
            f"{len(missing)} of {len(runs)} results of profile {profile.name!r} are missing "
            f"(the first: {missing[0].title}); "
            f"run `python -m sparsevlm reproduce --profile {profile.name}`"
        )
    return [store.load(run) for run in runs]


def execute_runs(
    runs: Sequence[EvaluationRun],
    store: Store | None = None,
    jobs: int = 1,
    progress: bool = True,
    *,
    source: Source,
) -> None:
    """Run the runs that are not finished, in worker processes of one thread each.

    Parameters
    ----------
    runs : sequence of Cell
        From `plan_runs`; finished ones are left alone.
    store : Store, optional
        Default: `results/`.
    jobs : int
        Worker processes.
    progress : bool
        Show one line: samples done, all samples, time left.
    source : Source
        Of the profile that the runs were planned for (`plan.source_of`).

    Raises
    ------
    OpenSamplesError
        Some samples got no answer; all others of all runs did.
    CellBusyError
        Another process works on some of the runs; all others are finished.
    CellError
        The disk is full, a worker died, or the code at hand is not what the runs were planned
        with. What was answered is kept.
    RuntimeError
        A worker failed in a way nobody foresaw; its traceback is in the message.
    ValueError
        `jobs` is not a positive integer.
    """
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise ValueError(f"jobs must be a positive integer, got {jobs!r}")
    store = store or Store()
    store.tidy()
    todo = missing_runs(runs, store)
    if not todo:
        return
    log.info("%d of %d runs to run", len(todo), len(runs))
    busy, unfinished = _run_all(todo, store, min(jobs, len(todo)), progress, source)
    if unfinished:
        raise OpenSamplesError(unfinished)
    if waiting := missing_runs(busy, store):
        raise RunBusyError(
            f"{len(waiting)} runs are being run by another process "
            f"(the first: {waiting[0].title}); run the command again when that has ended"
        )


def _run_all(
    todo: list[EvaluationRun], store: Store, jobs: int, progress: bool, source: Source
) -> tuple[list[EvaluationRun], list[Unfinished]]:
    """Run runs in worker processes; return those busy elsewhere, and those with open samples."""
    from tqdm import tqdm

    samples = sum(run.num_samples for run in todo)
    with (
        tqdm(total=samples, unit="samples", disable=not progress, mininterval=1) as bar,
        _workers(todo, store, jobs, source) as (workers, messages),
    ):
        bar.set_description(f"0/{len(todo)} runs")
        return _follow(len(todo), workers, messages, bar)


@contextmanager
def _workers(todo: list[EvaluationRun], store: Store, jobs: int, source: Source) -> Iterator[tuple]:
    """Start workers with all runs queued; end them on the way out, done or not."""
    from sparsevlm.evaluation.serving import serve

    context = get_context("spawn")  # a forked torch can hang
    tasks, messages = context.Queue(), context.Queue()
    for task in [*todo, *[None] * jobs]:
        tasks.put(task)
    arguments = (source, store, tasks, messages)
    workers = [context.Process(target=serve, args=arguments, daemon=True) for _ in range(jobs)]
    with _one_thread_each():
        for worker in workers:
            worker.start()
    try:
        yield workers, messages
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()
        tasks.cancel_join_thread()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let children start with one OpenMP thread, which is fixed when torch is imported."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _follow(
    runs: int, workers: list[BaseProcess], messages, bar
) -> tuple[list[EvaluationRun], list[Unfinished]]:
    """Move the bar until every run is done, busy or left open; raise what a worker ended with."""
    done, busy, unfinished = 0, [], []
    while done + len(busy) + len(unfinished) < runs:
        try:
            kind, content = messages.get(timeout=POLL_SECONDS)
        except Empty:
            _check_alive(workers)
            continue
        if kind == "samples":
            bar.update(content)
        elif kind == "stopped":
            raise RunError(content)
        elif kind == "failed":
            raise RuntimeError(f"a worker process failed:\n{content}")
        elif kind == "busy":
            busy.append(content)
        elif kind == "open":
            unfinished += content
        else:
            done += 1
            bar.set_description(f"{done}/{runs} runs", refresh=False)
    return busy, unfinished


def _check_alive(workers: list[BaseProcess]) -> None:
    if any(worker.exitcode not in (None, 0) for worker in workers):
        raise RunError(
            "a worker process died (killed, or out of memory); what was answered is kept. "
            "Run the same command again, with fewer --jobs if memory is short"
        )
