"""What pruning itself costs, phase by phase, apart from the model around it.

Nothing is measured unless `account` is entered; then every phase notes when it begins and ends. A
phase inside another interrupts it, so the phases add up to all the time that pruning took.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from sparsevlm.core.interface import CURRENT_ACCOUNT, phase

# What a phase covers. "hooks": reading the arguments of the model and of its layers, and finding
# the tokens in the batch. "scoring": the pruner's decision but for the two phases after it.
# "cut": applying the decision to hidden states, positions and masks. "session": entering and
# leaving the with block.
PHASES = ("session", "hooks", "scoring", "rank", "clustering", "cut")


class Clock(Protocol):
    """A source of marks in time."""

    def mark(self) -> Any:
        """The present moment."""

    def seconds(self, start: Any, end: Any) -> float:
        """Seconds between two marks; asked for only after all marks are made."""


class ThreadClock:
    """CPU time of this thread: other work on the machine does not count."""

    def mark(self) -> float:
        """CPU seconds of this thread so far."""
        return time.thread_time()

    def seconds(self, start: Any, end: Any) -> float:
        """Seconds between two marks."""
        return end - start


class CudaClock:
    """Time on the current CUDA stream, by events; reading it waits for the device."""

    def mark(self) -> Any:
        """An event recorded on the current stream."""
        import torch

        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: Any, end: Any) -> float:
        """Seconds between two events."""
        end.synchronize()
        return start.elapsed_time(end) / 1000


class TimeAccount:
    """Time by phase; get one from `account`.

    Parameters
    ----------
    clock
        Where the marks come from.

    Attributes
    ----------
    count
        Phases entered so far; reading the clock for each takes time too (`reading_seconds`).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock, self.count = clock, 0
        self._open: list[str] = []
        self._since: object = None
        self._spans: list[tuple[str, object, object]] = []

    def begin(self, phase: str) -> None:
        """Enter a phase; the one around it stands still."""
        now = self._clock.mark()
        if self._open:
            self._spans.append((self._open[-1], self._since, now))
        self._open.append(phase)
        self.count += 1
        self._since = now

    def end(self) -> None:
        """Leave the innermost phase."""
        now = self._clock.mark()
        self._spans.append((self._open.pop(), self._since, now))
        self._since = now

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of every phase that was entered, in the order of `PHASES`."""
        total: dict[str, float] = defaultdict(float)
        for name, start, end in self._spans:
            total[name] += self._clock.seconds(start, end)
        return {name: total[name] for name in PHASES if name in total}


@contextmanager
def account(clock: Clock | None = None) -> Iterator[TimeAccount]:
    """Measure what `prune` costs inside the with block, in this thread.

    Parameters
    ----------
    clock
        `ThreadClock` by default; `CudaClock` for the time on a GPU.

    Yields
    ------
    TimeAccount
        Its `seconds` are there when the block is left.

    Examples
    --------
    >>> with account() as spent, prune(model, pruner):
    ...     model(**inputs)
    >>> spent.seconds["clustering"]
    """
    current = TimeAccount(clock or ThreadClock())
    token = CURRENT_ACCOUNT.set(current)
    try:
        yield current
    finally:
        CURRENT_ACCOUNT.reset(token)


def reading_seconds(clock: Clock, times: int = 2000) -> float:
    """What an account adds to the time it counts, per phase: measured on empty phases."""

    @phase("hooks")
    def nothing() -> None:
        pass

    @phase("hooks")
    def around() -> None:
        for _ in range(times):
            nothing()

    with account(clock) as spent:
        around()
    return spent.seconds["hooks"] / times
