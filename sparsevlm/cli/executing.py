"""Executing the notebooks of a plan, several at a time, with the time that is left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context

from sparsevlm.cli import runner
from sparsevlm.cli.runner import NotebookError, NotebookRun
from sparsevlm.evaluation.paths import relative


@dataclass
class Outcome:
    """What a run did.

    Attributes
    ----------
    executed, current : list of str
        Notebooks that were run, and that had nothing to do.
    failed : dict of str
        By cell or notebook: why. All others were run all the same.
    """

    executed: list[str] = field(default_factory=list)
    current: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return what failed and why, one entry per failure; nothing where all went well."""
        return [f"failed: {name}: {reason}" for name, reason in self.failed.items()]


def execute_all(
    todo: Sequence[NotebookRun],
    outcome: Outcome,
    jobs: int,
    say: Callable[[str], None],
    progress: bool,
) -> None:
    """Execute notebooks; one that fails costs no other.

    Parameters
    ----------
    todo : sequence of NotebookRun
        What to run.
    outcome : Outcome
        Takes what was executed and what failed.
    jobs : int
        How many run at a time, each with its share of the processor's cores.
    say : callable
        Gets a line for every notebook.
    progress : bool
        Show a bar for each on standard error, where they run one after the other.
    """
    jobs = min(jobs, len(todo))
    clock = Clock(todo, jobs)
    if jobs < 2:
        for notebook in todo:
            result = partial(runner.execute, notebook, progress=progress)
            _note(notebook, result, outcome, clock, say)
        return
    # Processes, for papermill keeps state of its own; spawned, for a forked torch can hang.
    spawn = get_context("spawn")
    with ProcessPoolExecutor(jobs, spawn, initializer=_share_cores, initargs=(jobs,)) as pool:
        running = {pool.submit(runner.execute, notebook): notebook for notebook in todo}
        for ended in as_completed(running):
            _note(running[ended], ended.result, outcome, clock, say)


def _share_cores(jobs: int) -> None:
    """Give the kernels that this process will start their share of the processor."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    os.environ["OMP_NUM_THREADS"] = str(threads)


def _note(
    notebook: NotebookRun, result: Callable, outcome: Outcome, clock: Clock, say: Callable
) -> None:
    """Take the result of an execution, which raises if it failed."""
    try:
        result()
    except Exception as error:  # a bug in one notebook must not cost the others
        known = isinstance(error, (NotebookError, OSError))
        outcome.failed[notebook.name] = str(error) if known else f"{type(error).__name__}: {error}"
        say(f"{notebook.name}: failed, {clock.tick(notebook)}")
    else:
        outcome.executed.append(notebook.name)
        say(f"{notebook.name}: {relative(notebook.output('.html'))}, {clock.tick(notebook)}")


class Clock:
    """Seconds that notebooks took, and an estimate of what is left.

    Parameters
    ----------
    todo : sequence of NotebookRun
        What will run. One that ran before is expected to take as long again, a new one as long as
        the mean of those that are known.
    jobs : int
        How many run at a time.
    """

    def __init__(self, todo: Sequence[NotebookRun], jobs: int = 1) -> None:
        self._expected = {one.name: one.seconds_last_time() for one in todo}
        self._started = time.perf_counter()
        self._taken: list[float] = []
        self._total, self._jobs = len(todo), jobs

    def tick(self, notebook: NotebookRun) -> str:
        """Return "12 s, 3 of 9, about 40 s left" for one that has just ended."""
        now = time.perf_counter()
        # The time between two ends is a share of each of those that run side by side.
        self._taken.append((now - self._started) * self._jobs)
        self._started = now
        self._expected.pop(notebook.name)
        known = self._taken + [s for s in self._expected.values() if s is not None]
        mean = sum(known) / len(known)
        left = sum(mean if s is None else s for s in self._expected.values()) / self._jobs
        rest = f", about {left:.0f} s left" if self._expected else ""
        return f"{self._taken[-1]:.0f} s, {len(self._taken)} of {self._total}{rest}"
