"""What can go wrong with a run, in words for the user; nothing here needs torch."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sparsevlm.evaluation.results.run import EvaluationRun

SHOWN = 20  # samples named one by one in a summary
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class RunError(RuntimeError):
    """A run cannot be run, kept or read; the message says what to do."""


class RunBusyError(RunError):
    """Another process works on the run."""


@dataclass(frozen=True)
class Failure:
    """A sample (and its image or video) that got no answer: why, and what to do."""

    id: str
    media: str
    reason: str


Unfinished = tuple[EvaluationRun, tuple[Failure, ...]]


class OpenSamplesError(RunError):
    """Some samples of some runs got no answer; all others are answered and kept."""

    def __init__(self, runs: Sequence[Unfinished]) -> None:
        self.runs = tuple(runs)
        samples = summarise(self.runs)
        lines = "; ".join(f"{name}: {reason}" for name, reason in samples.items())
        super().__init__(
            f"runs left unfinished: {len(self.runs)}. {lines}. All other answers are kept; the "
            "same command asks the open samples again"
        )


def summarise(runs: Sequence[Unfinished], shown: int = SHOWN) -> dict[str, str]:
    """Return by sample why it has no answer and in how many runs: each image is named once.

    More than `shown` samples are counted, with the place where all of them are listed.
    """
    found: dict[tuple[str, str, str], list[EvaluationRun]] = {}
    for run, failures in runs:
        for failure in failures:
            found.setdefault((failure.id, failure.media, failure.reason), []).append(run)
    lines = {}
    for (sample, media, reason), where in list(found.items())[:shown]:
        name = f"sample {sample}" + (f" ({media})" if media else "")
        here = where[0].title if len(where) == 1 else f"{len(where)} runs, first {where[0].title}"
        lines.setdefault(name, []).append(f"{reason} [{here}]")
    told = {name: "; ".join(reasons) for name, reasons in lines.items()}
    if (more := len(found) - shown) > 0:
        told[f"{more} samples more"] = "results/runs/*.open.json lists them, with reasons"
    return told


@contextmanager
def saying_when_full(what_is_kept: str) -> Iterator[None]:
    """Turn "no space", "over quota" and "file too large" into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise RunError(
            f"cannot write results: {os.strerror(error.errno).lower()}. {what_is_kept} "
            "Free some space and run the same command again; it goes on from there."
        ) from error
