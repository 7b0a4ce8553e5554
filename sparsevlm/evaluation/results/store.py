"""Where results are kept: appended sample by sample, finished at once, never made twice.

    results/cells/ID.json       finished: cell, scores, predictions (record_files.py)
    results/cells/ID.run.json   how that was made
    results/cells/ID.jsonl      being made (journal.py)
    results/cells/ID.open.json  which samples got no answer in the last run, and why
    results/cells/ID.lock       held, by the operating system, while a process works on the cell

A finished file appears by one rename, so there is no half-finished one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sparsevlm.evaluation.results.run import Cell, Record
from sparsevlm.evaluation.results.failures import CellBusyError, CellError, saying_when_full
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

    def path(self, cell_id: str, suffix: str = "json") -> Path:
        """Return where the record of a cell is, or will be."""
        return self.folder / "cells" / f"{cell_id}.{suffix}"

    def has(self, cell: Cell) -> bool:
        """Return True if the cell is finished."""
        return self.path(cell.id).exists()

    def load(self, cell: Cell) -> Record:
        """Return the record of a finished cell; its predictions are read when they are used.

        Raises
        ------
        FileNotFoundError
            It is not finished.
        CellError
            A file is damaged, or holds another cell.
        """
        own = cell.id  # hashing is most of the time that a load takes
        path = self.path(own)
        try:
            record = read_record(path, self.path(own, "run.json"))
        except FileNotFoundError:
            raise FileNotFoundError(
                f"no result yet for {cell.title} ({own}); run `python -m sparsevlm reproduce`"
            ) from None
        if record.cell != cell:
            raise CellError(f"{path} holds cell {record.id}; delete it and measure again")
        return record

    @contextmanager
    def writing(self, cell: Cell, sample_ids: Sequence[str]) -> Iterator[Writer]:
        """Lock the cell and yield its writer, with what earlier runs have kept.

        Parameters
        ----------
        cell : Cell
            Must not be finished.
        sample_ids : sequence of str
            The samples of the cell, in order.

        Raises
        ------
        CellBusyError
            Another process works on the cell.
        CellError
            The cell is finished already, or the disk is full.
        """
        from filelock import FileLock, Timeout

        with saying_when_full("Nothing of this cell was lost."):
            self.path(cell.id).parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path(cell.id, "lock"))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise CellBusyError(
                    f"another process is working on {cell.title} ({cell.id}); "
                    "let it finish, or stop it, and run the command again"
                ) from None
        try:
            if self.has(cell):
                raise CellError(f"{cell.title} ({cell.id}) is finished; it is not run twice")
            writer = Writer(self, cell, sample_ids)
            try:
                yield writer
            finally:
                writer.close()
        finally:
            lock.release()
            if self.has(cell):  # whoever had the file open by now finds the cell finished
                Path(lock.lock_file).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what finished cells do not need; one killed in its last step leaves that."""
        for suffix in ("jsonl", "open.json", "lock"):
            for path in self.path("*").parent.glob(f"*.{suffix}"):
                if self.path(path.name.split(".")[0]).exists():
                    path.unlink(missing_ok=True)

    def left_open(self, cell: Cell) -> Iterator[tuple[Cell, dict[str, str]]]:
        """Yield unfinished cells that differ from this one in their samples only.

        That is what repairing a picture makes. With each comes the digest of every sample of it.
        """
        for path in sorted(self.path(cell.id).parent.glob("*.open.json")):
            try:
                values = json.loads(path.read_text(encoding="utf-8"))
                other = Cell.from_json(values["cell"])
                versions = dict(values["versions"])
            except (ValueError, KeyError, TypeError):
                continue  # of another version of this package, so of other cells
            if other != cell and replace(other, samples=cell.samples) == cell:
                yield other, versions

    def remove_open(self, cell: Cell) -> None:
        """Remove the journal of an unfinished cell whose answers another one has taken over."""
        for suffix in ("open.json", "jsonl", "lock"):
            self.path(cell.id, suffix).unlink(missing_ok=True)

    def forget_plans(self) -> None:
        """Remove the kept plans, so that the cells are named anew."""
        for path in (self.folder / "plans").glob("*.json"):
            path.unlink(missing_ok=True)
