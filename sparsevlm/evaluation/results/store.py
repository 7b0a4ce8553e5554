"""Where results are kept: appended sample by sample, finished by a rename, never made twice.

results/runs/ID.json       finished: run, scores, predictions (record_files.py)
results/runs/ID.run.json   how that was made
results/runs/ID.jsonl      being made: a line per session, event and sample (jsonl.py)
results/runs/ID.open.json  which samples got no answer in the last run, and why
results/runs/ID.lock       held, by the operating system, while a process works on the run
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from sparsevlm.evaluation.paths import RESULTS
from sparsevlm.evaluation.results.failures import Failure, RunBusyError, RunError, saying_when_full
from sparsevlm.evaluation.results.jsonl import JsonLines, locked, read_rows
from sparsevlm.evaluation.results.record_files import read_record, result_text, run_text
from sparsevlm.evaluation.results.run import EvaluationRun, Record
from sparsevlm.models.atomic import remove, write_text


class Store:
    """A folder of records, made when the first result is written."""

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
        RunError
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
        """Lock an unfinished run and yield its writer, with what earlier processes have kept.

        The ids are those of its samples, in order.

        Raises
        ------
        RunBusyError
            Another process works on the run.
        RunError
            The run is finished already, or the disk is full.
        """
        lock = self.path(run.id, "lock")
        busy = RunBusyError(
            f"another process is working on {run.title} ({run.id}); "
            "let it finish, or stop it, and run the command again"
        )
        with saying_when_full("Nothing of this run was lost."):
            lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with locked(lock, busy):
                if self.has(run):
                    raise RunError(f"{run.title} ({run.id}) is finished; it is not run twice")
                with closing(Writer(self, run, sample_ids)) as writer:
                    yield writer
        finally:
            if self.has(run):  # a process that waited for the lock finds the run finished
                remove(lock)

    def tidy(self) -> None:
        """Remove what finished runs do not need; one killed in its last step leaves that."""
        for suffix in ("jsonl", "open.json", "lock"):
            for path in self.path("*").parent.glob(f"*.{suffix}"):
                if self.path(path.name.split(".")[0]).exists():
                    remove(path)

    def left_open(self, run: EvaluationRun) -> Iterator[tuple[EvaluationRun, dict[str, str]]]:
        """Yield unfinished runs that differ from this one in their samples only.

        That is what repairing an image leads to. With each comes the digest of every sample of it.
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
        """Remove what is kept of an unfinished run whose answers another one has taken over."""
        for suffix in ("open.json", "jsonl", "lock"):
            remove(self.path(run.id, suffix))

    def forget_plans(self) -> None:
        """Remove the kept plans, so that the runs are named anew."""
        for path in (self.folder / "plans").glob("*.json"):
            remove(path)


class Writer:
    """Adds samples to a run that this process has locked; get one from `Store.writing`.

    The rows kept so far, by sample id, include those of earlier processes; the sessions are the
    provenance of every process that added something, with its "events" where it had any.
    """

    def __init__(self, store: Store, run: EvaluationRun, sample_ids: Sequence[str]) -> None:
        if len(set(sample_ids)) != len(sample_ids):
            raise ValueError("the ids of the samples of a run must differ")
        self.run, self.rows, self.sessions = run, {}, []
        self._store, self._ids = store, dict.fromkeys(sample_ids)
        self._file = JsonLines(store.path(run.id, "jsonl"), _header(run), self._kept)
        self._remember(self._file.rows)

    def _kept(self) -> str:
        return f"{len(self.rows)} of {len(self._ids)} samples of {self.run.title} are kept."

    def _remember(self, entries: Iterable[Mapping]) -> None:
        for entry in entries:
            if "session" in entry:
                self.sessions.append(dict(entry["session"]))
            elif "event" in entry:
                self.sessions[-1].setdefault("events", []).append(entry["event"])
            elif entry["id"] in self._ids:
                self.rows[entry["id"]] = dict(entry)

    def _append(self, entries: Sequence[Mapping]) -> None:
        self._file.append(entries)
        self._remember(entries)

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
        RunError
            The disk is full. What was kept before is kept still.
        """
        for row in rows:
            kept = self.rows.get(row["id"])
            again = kept is not None and kept.get("batch") == row.get("batch")
            if row["id"] not in self._ids or again:
                raise ValueError(f"{row['id']!r} is unknown to {self.run.title}, or there already")
        self._append(rows)

    def take_over(self, other: EvaluationRun, ids: AbstractSet[str]) -> None:
        """Keep the sessions, and the rows of these samples, of another unfinished run."""
        entries = read_rows(self._store.path(other.id, "jsonl"), _header(other))
        self._append([entry for entry in entries if entry.get("id") in {None, *ids}])

    def leave_open(self, failures: Sequence[Failure], versions: Mapping[str, str]) -> None:
        """Say in ID.open.json which samples have no answer, and why.

        `versions` has by sample id the digest of question and image. Repairing an image makes
        another run; by these it knows which answers are of unchanged samples (`Store.left_open`).
        """
        values = {
            "run": self.run.to_json(),
            "open": list(map(asdict, failures)),
            "versions": dict(versions),
        }
        self._write("open.json", json.dumps(values, indent=1, ensure_ascii=False) + "\n")

    def finish(self, scores: Mapping) -> Record:
        """Write the finished record and return it; the rename of its second file finishes it.

        Raises
        ------
        ValueError
            Samples are missing.
        RunError
            The disk is full; the samples are kept.
        """
        if missing := [i for i in self._ids if i not in self.rows]:
            raise ValueError(f"{len(missing)} samples of {self.run.title} have no answer yet")
        rows = [self.rows[i] for i in self._ids]
        self._write("run.json", run_text(self.run, self.sessions, rows))
        self._write("json", result_text(self.run, scores, rows))
        for suffix in ("jsonl", "open.json"):
            remove(self._store.path(self.run.id, suffix))
        return self._store.load(self.run)

    def _write(self, suffix: str, text: str) -> None:
        with saying_when_full(self._kept()):
            write_text(self._store.path(self.run.id, suffix), text)

    def close(self) -> None:
        """Close the file; what is appended stays for the next process."""
        self._file.close()


def _header(run: EvaluationRun) -> dict:
    return {"answers of run": run.id}
