"""Finished runs for official scorers: the files that they take, other versions of their rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparsevlm.benchmarks import get_benchmark
from sparsevlm.benchmarks.loaders import layout_of
from sparsevlm.benchmarks.uploads import UPLOADS, write_upload
from sparsevlm.evaluation.results.run import EvaluationRun
from sparsevlm.evaluation.results.store import Store


def write_uploads(
    runs: Sequence[EvaluationRun], store: Store, folder: Path, data: Path
) -> list[Path]:
    """Write the official file of every finished run whose benchmark has one; return them.

    `data` holds the folders of the benchmarks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_upload(
            run.benchmark,
            store.load(run).predictions,
            data / layout_of(run.benchmark).folder,
            folder / f"{run.benchmark}_{run.method}_{run.tokens or 'all'}_{run.id[:8]}",
        )
        for run in runs
        if run.benchmark in UPLOADS and store.has(run)
    ]


def scored_again(runs: Sequence[EvaluationRun], store: Store, reading: str) -> list[str]:
    """Score the finished runs of MMBench by one of its readings, and return a line for each."""
    lines = []
    for run in runs:
        if reading in get_benchmark(run.benchmark).readings and store.has(run):
            found = get_benchmark(run.benchmark, reading).score(store.load(run).predictions)
            lines.append(f"{run.title}: {found['score']:.1f} %, {found['unread']} answers unread")
    return lines
