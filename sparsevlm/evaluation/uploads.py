"""Finished runs as the files that official scorers and servers take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparsevlm.benchmarks.loaders import layout_of
from sparsevlm.benchmarks.uploads import UPLOADS, write_upload
from sparsevlm.evaluation.results.run import EvaluationRun
from sparsevlm.evaluation.results.store import Store


def write_uploads(
    runs: Sequence[EvaluationRun], store: Store, folder: Path, data: Path
) -> list[Path]:
    """Write the official file of every finished run whose benchmark has one; return them.

    Parameters
    ----------
    runs, store
        What was planned, and where finished answers are.
    folder
        Where to write; made if it is not there.
    data
        Holds the folders of the benchmarks.
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
