"""A run that is being made: one line per session, per event and per sample, each kept at once.

A process may be killed at any moment: at most the lines being written are lost, and what is not a
whole line is cut off on the next start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.evaluation.results.atomic import replacing
from sparsevlm.evaluation.results.run import EvaluationRun, Record, canonical_json
from sparsevlm.evaluation.results.failures import Failure, saying_when_full
from sparsevlm.evaluation.results.record_files import result_text, run_text

if TYPE_CHECKING:
    from sparsevlm.evaluation.results.store import Store

_KINDS = ("id", "session", "event")


class Writer:
    """Adds samples to a run that this process has locked; get one from `Store.writing`.

    Attributes
    ----------
    rows : dict
        Rows kept so far by sample id, those of earlier runs included.
    sessions : list of dict
        Provenance of every run that added something, with its "events" where it had any.
    """

    def __init__(self, store: Store, run: EvaluationRun, sample_ids: Sequence[str]) -> None:
        if len(set(sample_ids)) != len(sample_ids):
            raise ValueError("the ids of the samples of a run must differ")
        self.run, self.rows, self.sessions = run, {}, []
        self._store, self._ids = store, dict.fromkeys(sample_ids)
        self._journal = store.path(run.id, "jsonl")
        with saying_when_full(self._kept()):
            self._file = os.open(self._journal, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._end = self._recover()

    def _kept(self) -> str:
        return f"{len(self.rows)} of {len(self._ids)} samples of {self.run.title} are kept."

    def _recover(self) -> int:
        """Read what earlier runs left and cut off what is not a whole line; return its length."""
        entries, end = read_journal(self._journal)
        self._remember(entries)
        os.ftruncate(self._file, end)
        os.lseek(self._file, end, os.SEEK_SET)
        return end

    def _remember(self, entries: Iterable[Mapping]) -> None:
        for entry in entries:
            if "session" in entry:
                self.sessions.append(dict(entry["session"]))
            elif "event" in entry:
                self.sessions[-1].setdefault("events", []).append(entry["event"])
            elif entry["id"] in self._ids:
                self.rows[entry["id"]] = dict(entry)

    def start_session(self, provenance: Mapping) -> None:
        """Note who adds the rows that follow."""
        self._append([{"session": dict(provenance)}])

    def note(self, event: Mapping) -> None:
        """Note what happened in this session: memory that was short, a sample without answer."""
        if not self.sessions:
            raise ValueError("an event belongs to a session; call start_session first")
        self._append([{"event": dict(event)}])

    def append(self, rows: Sequence[Mapping]) -> None:
        """Keep these rows, on the disk when this returns: all of them, or none.

        A sample has one row; one that was answered in a batch of another size replaces it.

        Raises
        ------
        ValueError
            A row is of no sample of this run, or is there already.
        CellError
            The disk is full. What was kept before is kept still.
        """
        for row in rows:
            kept = self.rows.get(row["id"])
            again = kept is not None and kept.get("batch") == row.get("batch")
            if row["id"] not in self._ids or again:
                raise ValueError(f"{row['id']!r} is unknown to {self.run.title}, or there already")
        self._append(rows)

    def take_over(self, journal: Path, ids: AbstractSet[str]) -> None:
        """Keep the sessions, and the rows of these samples, of another run's journal."""
        entries, _ = read_journal(journal)
        self._append([entry for entry in entries if entry.get("id") in {None, *ids}])

    def _append(self, entries: Sequence[Mapping]) -> None:
        data = "".join(canonical_json(entry) + "\n" for entry in entries).encode()
        with saying_when_full(self._kept()):
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
        self._remember(entries)

    def leave_open(self, failures: Sequence[Failure], versions: Mapping[str, str]) -> None:
        """Say beside the journal which samples have no answer, and why.

        Parameters
        ----------
        failures : sequence of Failure
            The open samples.
        versions : dict of str
            By sample id the digest of question and picture. Repairing a picture makes another
            run; by these it knows which answers are of unchanged samples (`Store.left_open`).
        """
        values = {
            "run": self.run.to_json(),
            "open": [failure.to_json() for failure in failures],
            "versions": dict(versions),
        }
        self._write("open.json", json.dumps(values, indent=1, ensure_ascii=False) + "\n")

    def finish(self, scores: Mapping) -> Record:
        """Write the finished record and return it; the rename of its second file finishes it.

        Raises
        ------
        ValueError
            Samples are missing.
        CellError
            The disk is full; the samples are kept.
        """
        if missing := [i for i in self._ids if i not in self.rows]:
            raise ValueError(f"{len(missing)} samples of {self.run.title} have no answer yet")
        rows = [self.rows[i] for i in self._ids]
        self._write("run.json", run_text(self.run, self.sessions, rows))
        self._write("json", result_text(self.run, scores, rows))
        for suffix in ("jsonl", "open.json"):
            self._store.path(self.run.id, suffix).unlink(missing_ok=True)
        return self._store.load(self.run)

    def _write(self, suffix: str, text: str) -> None:
        path = self._store.path(self.run.id, suffix)
        with saying_when_full(self._kept()), replacing(path) as partial:
            with partial.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())

    def close(self) -> None:
        """Close the file; what is appended stays for the next run."""
        os.close(self._file)


def read_journal(path: Path) -> tuple[list[dict], int]:
    """Return the entries of all whole lines, and how many bytes they are."""
    entries, end = [], 0
    for line in path.read_bytes().splitlines(keepends=True):
        entry = _whole_line(line)
        if entry is None:
            break
        entries.append(entry)
        end += len(line)
    return entries, end


def _whole_line(line: bytes) -> dict | None:
    """Return the entry of a line, or None where a killed process left only a part of it."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and any(kind in entry for kind in _KINDS) else None
