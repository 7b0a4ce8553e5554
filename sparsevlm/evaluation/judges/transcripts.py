"""What judges said, kept so that nothing is asked twice, whenever the process ends.

One file per judge, its identity in the first line, one line per reply. A reply is on the disk
before it is used; a killed process leaves at most a part of a line, which the next one cuts off.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sparsevlm.evaluation.judges.requests import JudgeError
from sparsevlm.evaluation.results.run import canonical_json, digest

Messages = Sequence[Mapping[str, str]]


def key_of(messages: Messages) -> str:
    """Return what identifies a conversation."""
    return digest(canonical_json([dict(message) for message in messages]))


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes
    ----------
    text : str
        As the judge wrote it.
    details : dict
        What else is worth keeping: who served it, how many tokens it took, why it ended.
    """

    text: str
    details: dict = field(default_factory=dict)


class Transcripts:
    """The replies of one judge, by conversation; get it from `transcripts`."""

    def __init__(self, path: Path, known: dict[str, Reply], file: int | None) -> None:
        self.path = path
        self._known, self._file = known, file
        self._lock = threading.Lock()

    def __contains__(self, messages: Messages) -> bool:
        return key_of(messages) in self._known

    def __getitem__(self, messages: Messages) -> Reply:
        return self._known[key_of(messages)]

    def __len__(self) -> int:
        return len(self._known)

    def add(self, messages: Messages, reply: Reply) -> None:
        """Keep a reply; it is on the disk when this returns.

        Raises
        ------
        JudgeError
            It cannot be written; the file is as it was before.
        """
        key = key_of(messages)
        entry = {"key": key, "messages": [dict(m) for m in messages], "reply": reply.text}
        with self._lock:
            _append(self.path, self._file, entry | {"details": reply.details})
            self._known[key] = reply


def _append(path: Path, file: int, entry: Mapping) -> None:
    end = os.lseek(file, 0, os.SEEK_END)
    rest = memoryview((canonical_json(entry) + "\n").encode())
    try:
        while rest:  # a disk that fills up takes a part and refuses the next
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    except OSError as error:
        os.ftruncate(file, end)
        raise JudgeError(
            f"cannot write {path.name} ({os.strerror(error.errno)}). What the judge said before is "
            "kept. Free some space and run the same command again."
        ) from error


def _path(folder: Path, asked: Mapping) -> Path:
    return folder / f"{digest(canonical_json(dict(asked)))}.jsonl"


def _whole_entries(data: bytes) -> tuple[list[dict], int]:
    """Return the entries of a file and how many of its bytes they are."""
    entries, end = [], 0
    for line in data.splitlines(keepends=True):
        try:
            entry = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            break
        entries.append(entry)
        end += len(line)
    return entries, end


def _replies(path: Path, entries: Sequence[Mapping]) -> dict[str, Reply]:
    try:
        return {e["key"]: Reply(e["reply"], e["details"]) for e in entries if "judge" not in e}
    except KeyError as error:
        raise JudgeError(f"{path} is damaged, an entry has no {error}; move it away") from None


def known_replies(folder: Path, asked: Mapping) -> Transcripts:
    """Return what a judge said so far, to be read only.

    Parameters
    ----------
    folder : Path
        Of all transcripts.
    asked : mapping
        Identifies who is asked, and how.
    """
    path = _path(folder, asked)
    entries = _whole_entries(path.read_bytes())[0] if path.exists() else []
    return Transcripts(path, _replies(path, entries), None)


@contextmanager
def transcripts(folder: Path, asked: Mapping) -> Iterator[Transcripts]:
    """Yield the transcripts of a judge, to be added to; no other process can meanwhile.

    Parameters
    ----------
    folder : Path
        Of all transcripts; made where it is missing.
    asked : mapping
        Identifies who is asked, and how.

    Raises
    ------
    JudgeError
        Another process asks this judge, or the file is damaged.
    """
    from filelock import FileLock, Timeout

    path = _path(folder, asked)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise JudgeError(
            f"another process asks this judge ({path.stem}); let it finish, then run this again"
        ) from None
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            entries, end = _whole_entries(path.read_bytes())
            os.ftruncate(file, end)
            if not entries:
                _append(path, file, {"judge": dict(asked)})
            yield Transcripts(path, _replies(path, entries), file)
        finally:
            os.close(file)
    finally:
        lock.release()
