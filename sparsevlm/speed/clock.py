"""Clocks, interleaved rounds and what is reported of them.

A CPU is timed by the CPU time of one thread, and only ratios of it are reported: its wall time says
nothing about a GPU. A GPU is timed by events on its stream.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles
from typing import TYPE_CHECKING

from sparsevlm.runtime.timing import Clock, CudaClock, ThreadClock

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

CLOCKS = {"cpu": "CPU time of one thread", "cuda": "CUDA events"}


def clock_of(device: str) -> Clock:
    """Return the clock of a device.

    Raises
    ------
    ValueError
        If it has none.
    """
    kinds = {"cpu": ThreadClock, "cuda": CudaClock}
    kind = device.partition(":")[0]
    if kind not in kinds:
        raise ValueError(f"no clock for device {device!r}; known: {', '.join(kinds)}")
    return kinds[kind]()


def seconds_of(job: Callable[[], object], clock: Clock) -> float:
    """Time one run of a job."""
    start = clock.mark()
    job()
    return clock.seconds(start, clock.mark())


def interleaved(
    jobs: Mapping[str, Callable[[], object]], rounds: int, seed: int, warm_up: int = 1
) -> dict[str, list]:
    """Run all jobs in every round, in another order each time, so that drift falls on all alike.

    Parameters
    ----------
    jobs
        By name; what each returns is kept.
    rounds
        At least 2, for a spread.
    seed
        Of the orders.
    warm_up
        Runs of every job before the first round; they are dropped.

    Returns
    -------
    dict
        By name, what the job returned in every round.

    Raises
    ------
    ValueError
        For fewer than two rounds.
    """
    if rounds < 2:
        raise ValueError(f"rounds must be at least 2 for a spread, got {rounds}")
    for job in jobs.values():
        for _ in range(warm_up):
            job()
    order = random.Random(seed)
    found: dict[str, list] = {name: [] for name in jobs}
    for number in range(rounds):
        for name in order.sample(list(jobs), len(jobs)):
            found[name].append(jobs[name]())
        logger.info("round %d of %d", number + 1, rounds)
    return found


def spread(values: Sequence[float], digits: int = 6) -> dict[str, float]:
    """Median and quartiles."""
    low, _, high = quantiles(values, n=4)
    return {
        "median": round(median(values), digits), "low": round(low, digits),
        "high": round(high, digits),
    }  # fmt: skip


class Watch:
    """Marks the time at which modules begin and end, for as long as it is open.

    Parameters
    ----------
    modules
        By name; the first run of each counts (of a decoder: the prefill).
    clock
        Where the marks come from.
    """

    def __init__(self, modules: Mapping[str, nn.Module], clock: Clock) -> None:
        self._modules, self._clock = modules, clock
        self._starts: dict[str, object] = {}
        self._ends: dict[str, object] = {}

    def __enter__(self) -> Watch:
        self._handles = []
        for name, module in self._modules.items():
            self._handles += [
                module.register_forward_pre_hook(self._noting(self._starts, name)),
                module.register_forward_hook(self._noting(self._ends, name)),
            ]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _noting(self, marks: dict[str, object], name: str) -> Callable:
        def note(*args: object) -> None:
            if name not in marks:
                marks[name] = self._clock.mark()

        return note

    def seconds(self) -> dict[str, float]:
        """Seconds of the first run of every module that ran."""
        return {
            name: self._clock.seconds(self._starts[name], end) for name, end in self._ends.items()
        }
