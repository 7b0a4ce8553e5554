"""Running many evaluation runs in worker processes, of which none stops another."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING

from sparsevlm.evaluation.results.failures import (
    OpenSamplesError,
    RunBusyError,
    RunError,
    Unfinished,
)
from sparsevlm.evaluation.results.run import EvaluationRun
from sparsevlm.evaluation.results.store import Store

if TYPE_CHECKING:
    from tqdm import tqdm

    from sparsevlm.evaluation.backends import EvalBackend

POLL_SECONDS = 0.2


@dataclass
class PoolOutcome:
    """What became of runs that are not finished.

    Attributes
    ----------
    failed : dict of str
        By title of the run: why it failed.
    unfinished : list of (EvaluationRun, failures)
        Runs with samples that got no answer.
    busy : list of EvaluationRun
        Another process works on them.
    """

    failed: dict[str, str] = field(default_factory=dict)
    unfinished: list[Unfinished] = field(default_factory=list)
    busy: list[EvaluationRun] = field(default_factory=list)


def run_all(
    runs: Sequence[EvaluationRun], store: Store, jobs: int, backend: EvalBackend, bar: tqdm
) -> PoolOutcome:
    """Run everything in `jobs` processes of one thread each, and say what did not work.

    Parameters
    ----------
    runs : sequence of EvaluationRun
        Not finished yet.
    store, backend
        Take the results; supply models and questions.
    jobs : int
        Worker processes.
    bar : tqdm
        Moved by the samples done; its description counts the runs.

    Raises
    ------
    RunError
        What concerns all runs alike: the disk is full, a worker was killed, the weights or
        questions changed. What was answered is kept.
    """
    outcome, context = PoolOutcome(), get_context("spawn")  # a forked torch can hang
    done, stop = context.Value("q", 0), context.Event()
    with (
        _one_thread_each(),
        ProcessPoolExecutor(jobs, context, _start_worker, (done, stop)) as pool,
    ):
        try:
            with starting_deaf():
                running = {
                    pool.submit(_execute, group, store, backend): group
                    for group in asked_together(runs, jobs, backend)
                }
            _follow(running, outcome, done, bar)
        except BaseException:  # Ctrl-C too: workers end after their batch, and keep it
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return outcome


def asked_together(
    runs: Sequence[EvaluationRun], jobs: int, backend: EvalBackend
) -> list[tuple[EvaluationRun, ...]]:
    """Return the runs that ask the same questions together, those with most to compute first.

    A worker that has such a group computes once what its runs have in common. There are groups for
    all of `jobs` workers, if there are as many runs.
    """
    groups: dict[tuple, list[EvaluationRun]] = {}
    for run in runs:
        groups.setdefault(run.questions, []).append(run)
    most = -(-len(runs) // jobs)
    parts = [tuple(g[i : i + most]) for g in groups.values() for i in range(0, len(g), most)]

    def cost(part: tuple[EvaluationRun, ...]) -> int:  # the dense model's share is the largest
        asked = sum(run.num_samples * (2 if run.tokens else 8) for run in part)
        return -asked * backend.sizes(part[0].model).num_visual

    return sorted(parts, key=cost)


def _follow(
    running: dict[Future, tuple[EvaluationRun, ...]], outcome: PoolOutcome, done, bar: tqdm
) -> None:
    """Update the progress bar until every group has ended; raise what concerns all of them."""
    ended_runs, open_futures = 0, set(running)
    total = sum(map(len, running.values()))
    bar.set_description(f"0/{total} runs")
    while open_futures:
        ended, open_futures = wait(open_futures, POLL_SECONDS, "FIRST_COMPLETED")
        bar.update(done.value - bar.n)
        for future in ended:
            _note(running[future], future, outcome)
            ended_runs += len(running[future])
        bar.set_description(f"{ended_runs}/{total} runs", refresh=False)


def _note(group: Sequence[EvaluationRun], future: Future, outcome: PoolOutcome) -> None:
    try:
        stopped, unfinished = future.result()
    except BrokenProcessPool:
        raise RunError(
            "a worker process died (killed, or out of memory); what was answered is kept. "
            "Run the same command again, with fewer --jobs if memory is short"
        ) from None
    if stopped:
        raise RunError(stopped)
    for run in group:
        kind, content = unfinished.get(run.id, ("done", None))
        if kind == "failed":
            outcome.failed[f"run {run.title}"] = content
        elif kind == "open":
            outcome.unfinished += content
        elif kind == "busy":
            outcome.busy.append(run)


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


@contextmanager
def starting_deaf() -> Iterator[None]:
    """Let the processes that are started here not hear Ctrl-C before they say how to take it.

    A worker that is interrupted while it imports dies with a traceback, and breaks the pool.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- In a worker process -----------------------------------------------------------------------

_shared: tuple = ()  # the counter of samples, and the event that ends the worker


class _Stopped(RunError):
    """The parent ends the run."""


def _start_worker(done, stop) -> None:
    global _shared
    _shared = done, stop
    ignore_ctrl_c()  # it reaches the parent, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()


def ignore_ctrl_c() -> None:
    """Ignore Ctrl-C in this process, which was started deaf, and is so no longer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _end_with_parent() -> None:
    """Leave when the parent is gone: one that was killed cannot stop us, and we hold locks."""
    parent_process().join()
    os._exit(1)


def _execute(
    group: Sequence[EvaluationRun], store: Store, backend: EvalBackend
) -> tuple[str, dict[str, tuple[str, object]]]:
    """Execute runs; return what stopped all of them, or by id how those ended that are not done.

    What is returned is plain data: not every exception can be sent to another process.
    """
    import torch

    from sparsevlm.evaluation.workers import execute_together

    torch.set_num_threads(1)
    try:
        unfinished = execute_together(group, store, backend, _report)
    except (RunError, OSError) as error:
        return str(error), {}
    return "", {run.id: _told(error) for run, error in unfinished.items()}


def _told(error: Exception) -> tuple[str, object]:
    if isinstance(error, OpenSamplesError):
        return "open", error.runs
    if isinstance(error, RunBusyError):
        return "busy", None
    return "failed", traceback.format_exception_only(error)[-1].strip()


def _report(samples: int) -> None:
    done, stop = _shared
    with done.get_lock():
        done.value += samples
    if stop.is_set():
        raise _Stopped("stopped")
