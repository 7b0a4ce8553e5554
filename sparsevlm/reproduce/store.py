"""Where results are kept: appended sample by sample, finished at once, never made twice.

    results/cells/ID.jsonl   being made: one line per session and per sample
    results/cells/ID.json    finished
    results/cells/ID.lock    held, by the operating system, while a process works on the cell

A process may be killed at any moment: at most the line being written is lost, and it is dropped on
the next start. A finished file appears by one rename, so there is no half-finished one.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sparsevlm.reproduce.atomic import replacing
from sparsevlm.reproduce.cell import Cell, Record, canonical_json
from sparsevlm.reproduce.paths import RESULTS

FORMAT = 1
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class CellError(RuntimeError):
    """A cell cannot be run, kept or read; the message says what to do."""


class CellBusyError(CellError):
    """Another process works on the cell."""


@contextmanager
def _saying_when_full(what_is_kept: str) -> Iterator[None]:
    """Turn "no space", "over quota" and "file too large" into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise CellError(
            f"cannot write results: {os.strerror(error.errno).lower()}. {what_is_kept} "
            "Free some space and run the same command again; it goes on from there."
        ) from error


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
        """Return the record of a finished cell.

        Raises
        ------
        FileNotFoundError
            It is not finished.
        CellError
            The file is damaged, or holds another cell.
        """
        path = self.path(cell.id)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            stored = Cell.from_json(values["cell"])
            record = Record(
                cell=stored,
                predictions=tuple(values["predictions"]),
                scores=values["scores"],
                sessions=tuple(values["sessions"]),
                seconds=values["seconds"],
            )
        except FileNotFoundError:
            raise FileNotFoundError(
                f"no result yet for {cell.title} ({cell.id}); run `python -m sparsevlm reproduce`"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise CellError(
                f"{path} is damaged ({error}); delete it and run `python -m sparsevlm reproduce`"
            ) from error
        if stored.id != cell.id:
            raise CellError(f"{path} holds cell {stored.id}; delete it and measure again")
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

        with _saying_when_full("Nothing of this cell was lost."):
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


class Writer:
    """Adds samples to a cell that this process has locked; get one from `Store.writing`.

    Attributes
    ----------
    rows : dict
        Rows kept so far by sample id, those of earlier runs included.
    """

    def __init__(self, store: Store, cell: Cell, sample_ids: Sequence[str]) -> None:
        if len(set(sample_ids)) != len(sample_ids):
            raise ValueError("the ids of the samples of a cell must differ")
        self.cell, self.rows, self.sessions = cell, {}, []
        self._store, self._ids = store, list(sample_ids)
        self._journal = store.path(cell.id, "jsonl")
        with _saying_when_full(self._kept()):
            self._file = os.open(self._journal, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._end = self._recover()

    def _kept(self) -> str:
        return f"{len(self.rows)} of {len(self._ids)} samples of {self.cell.title} are kept."

    def _recover(self) -> int:
        """Read what earlier runs left and cut off what is not a whole line; return its length."""
        data = self._journal.read_bytes()
        known, end = set(self._ids), 0
        for line in data.splitlines(keepends=True):
            entry = _whole_line(line)
            if entry is None:
                break
            if "session" in entry:
                self.sessions.append(entry["session"])
            elif entry["id"] in known:
                self.rows.setdefault(entry["id"], entry)
            end += len(line)
        os.ftruncate(self._file, end)
        os.lseek(self._file, end, os.SEEK_SET)
        return end

    def start_session(self, provenance: Mapping) -> None:
        """Note who adds the rows that follow."""
        self._append([{"session": dict(provenance)}])
        self.sessions.append(dict(provenance))

    def append(self, rows: Sequence[Mapping]) -> None:
        """Keep these rows, on the disk when this returns: all of them, or none.

        Raises
        ------
        ValueError
            A row is of no sample of this cell, or is there already.
        CellError
            The disk is full. What was kept before is kept still.
        """
        for row in rows:
            if row["id"] not in self._ids or row["id"] in self.rows:
                raise ValueError(f"{row['id']!r} is unknown to {self.cell.title}, or there already")
        self._append(rows)
        self.rows |= {row["id"]: dict(row) for row in rows}

    def _append(self, entries: Sequence[Mapping]) -> None:
        data = "".join(canonical_json(entry) + "\n" for entry in entries).encode()
        with _saying_when_full(self._kept()):
            try:
                rest = memoryview(data)
                while rest:  # a disk that fills up takes a part and refuses the next
                    rest = rest[os.write(self._file, rest) :]
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, self._end)
                os.lseek(self._file, self._end, os.SEEK_SET)
                raise
        self._end += len(data)

    def finish(self, scores: Mapping) -> Record:
        """Write the finished record, by one rename, and return it.

        Raises
        ------
        ValueError
            Samples are missing.
        CellError
            The disk is full; the samples are kept.
        """
        if missing := [i for i in self._ids if i not in self.rows]:
            raise ValueError(f"{len(missing)} samples of {self.cell.title} have no answer yet")
        rows = tuple(self.rows[i] for i in self._ids)
        seconds = float(sum(row.get("seconds", 0.0) for row in rows))
        record = Record(self.cell, rows, dict(scores), tuple(self.sessions), seconds)
        with _saying_when_full(self._kept()), replacing(self._store.path(self.cell.id)) as partial:
            with partial.open("w", encoding="utf-8") as file:
                file.write(_record_text(record))
                file.flush()
                os.fsync(file.fileno())
        self._journal.unlink()
        return record

    def close(self) -> None:
        """Close the file; what is appended stays for the next run."""
        os.close(self._file)


def _whole_line(line: bytes) -> dict | None:
    """Return the entry of a line, or None where a killed process left only a part of it."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and ("id" in entry or "session" in entry) else None


def _record_text(record: Record) -> str:
    """Return the record as JSON with one row per line, so that it can be read and compared."""
    head = {
        "format": FORMAT,
        "id": record.id,
        "cell": record.cell.to_json(),
        "scores": record.scores,
        "sessions": list(record.sessions),
        "seconds": record.seconds,
    }
    rows = ",\n".join(canonical_json(row) for row in record.predictions)
    return canonical_json(head)[:-1] + f',\n"predictions":[\n{rows}\n]}}\n'
