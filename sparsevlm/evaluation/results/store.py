"""Where results are kept: appended sample by sample, finished at once, never made twice.

    results/runs/ID.json       finished: run, scores, predictions (record_files.py)
    results/runs/ID.run.json   how that was made
    results/runs/ID.jsonl      being made (journal.py)
    results/runs/ID.open.json  which samples got no answer in the last run, and why
    results/runs/ID.lock       held, by the operating system, while a process works on the run

A finished file appears by one rename, so there is no half-finished one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sparsevlm.evaluation.results.run import EvaluationRun, Record
from sparsevlm.evaluation.results.failures import RunBusyError, RunError, saying_when_full
from sparsevlm.evaluation.results.journal import Writer
from sparsevlm.evaluation.paths import RESULTS
from sparsevlm.evaluation.results.record_files import read_record

__all__ = ["CellBusyError", "CellError", "Store", "Writer"]


class Store:
    """A folder of records.

    Parameters
    ----------
    folder : path
        Made when the first result is written.
    """

    def __init__(self, folder: str | Path = RESULTS) -> None:
        self.folder = Path(folder)

    def path(self, run_id: str, suffix: str = "json") -> Path:
        """Return where the record of a run is, or will be."""
        return self.folder / "runs" / f"{run_id}.{suffix}"

    def has(self, run: EvaluationRun) -> bool:
        """Return True if the run is finished."""
        return self.path(run.id).exists()

    def load(self, run: EvaluationRun) -> Record:
        """Return the record of a finished run; its predictions are read when they are used.

        Raises
        ------
        FileNotFoundError
            It is not finished.
        CellError
            A file is damaged, or holds another run.
        """
        own = run.id  # hashing is most of the time that a load takes
        path = self.path(own)
        try:
            record = read_record(path, self.path(own, "run.json"))
        except FileNotFoundError:
            raise FileNotFoundError(
                f"no result yet for {run.title} ({own}); run `sparsevlm reproduce`"
            ) from None
        if record.run != run:
            raise RunError(f"{path} holds run {record.id}; delete it and measure again")
        return record

    @contextmanager
    def writing(self, run: EvaluationRun, sample_ids: Sequence[str]) -> Iterator[Writer]:
        """Lock the run and yield its writer, with what earlier runs have kept.

        Parameters
        ----------
        run : Cell
            Must not be finished.
        sample_ids : sequence of str
            The samples of the run, in order.

        Raises
        ------
        CellBusyError
            Another process works on the run.
        CellError
            The run is finished already, or the disk is full.
        """
        from filelock import FileLock, Timeout

        with saying_when_full("Nothing of this run was lost."):
            self.path(run.id).parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path(run.id, "lock"))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise RunBusyError(
                    f"another process is working on {run.title} ({run.id}); "
                    "let it finish, or stop it, and run the command again"
                ) from None
        try:
            if self.has(run):
                raise RunError(f"{run.title} ({run.id}) is finished; it is not run twice")
            writer = Writer(self, run, sample_ids)
            try:
                yield writer
            finally:
                writer.close()
        finally:
            lock.release()
            if self.has(run):  # whoever had the file open by now finds the run finished
                Path(lock.lock_file).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what finished runs do not need; one killed in its last step leaves that."""
        for suffix in ("jsonl", "open.json", "lock"):
            for path in self.path("*").parent.glob(f"*.{suffix}"):
                if self.path(path.name.split(".")[0]).exists():
                    path.unlink(missing_ok=True)

    def left_open(self, run: EvaluationRun) -> Iterator[tuple[EvaluationRun, dict[str, str]]]:
        """Yield unfinished runs that differ from this one in their samples only.

        That is what repairing a picture makes. With each comes the digest of every sample of it.
        """
        for path in sorted(self.path(run.id).parent.glob("*.open.json")):
            try:
                values = json.loads(path.read_text(encoding="utf-8"))
                other = EvaluationRun.from_json(values["run"])
                versions = dict(values["versions"])
            except (ValueError, KeyError, TypeError):
                continue  # of another version of this package, so of other runs
            if other != run and replace(other, samples=run.samples) == run:
                yield other, versions

    def remove_open(self, run: EvaluationRun) -> None:
        """Remove the journal of an unfinished run whose answers another one has taken over."""
        for suffix in ("open.json", "jsonl", "lock"):
            self.path(run.id, suffix).unlink(missing_ok=True)

    def forget_plans(self) -> None:
        """Remove the kept plans, so that the runs are named anew."""
        for path in (self.folder / "plans").glob("*.json"):
            path.unlink(missing_ok=True)
