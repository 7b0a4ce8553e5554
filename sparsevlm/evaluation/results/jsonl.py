"""An append-only file of JSON objects, one per line, that survives a kill at any moment.

The answers of a run (`store.Writer`) and the replies of a judge (`judges.chat`) are kept in it.
The first line is a header that names what the file is of. What `append` was given is on the disk
when it returns: all of it, or none. A killed process leaves at most a part of its last write, and
everything from the first line that is not whole is cut off when the file is opened again.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sparsevlm.evaluation.results.failures import RunError, saying_when_full
from sparsevlm.evaluation.results.run import canonical_json
from sparsevlm.models.atomic import write_all

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP)


class JsonLines:
    """A file open for appending; hold its lock (`locked`) while it is.

    It is made, with its header, where it is missing. `kept` says what is safe, when the disk is
    full.

    Attributes
    ----------
    rows : list of dict
        The rows that were there when the file was opened.

    Raises
    ------
    RunError
        The first line is another one, or the disk is full.
    """

    def __init__(self, path: Path, header: Mapping, kept: Callable[[], str]) -> None:
        self._kept = kept
        with saying_when_full(kept()):
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o666)
        try:
            self.rows, self._end = _read(path, header)
            os.ftruncate(self._file, self._end)
            if not self._end:
                self.append([header])
        except BaseException:
            self.close()
            raise

    def append(self, rows: Sequence[Mapping]) -> None:
        """Add rows: all of them, or none.

        Raises
        ------
        RunError
            The disk is full; the file is as it was before.
        """
        data = "".join(canonical_json(row) + "\n" for row in rows).encode()
        with saying_when_full(self._kept()):
            try:
                write_all(self._file, data)
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, self._end)
                raise
        self._end += len(data)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_rows(path: Path, header: Mapping) -> list[dict]:
    """Return the rows of all whole lines without changing the file; none where there is no file.

    Raises
    ------
    RunError
        The first line is not `header`.
    """
    return _read(path, header)[0] if path.exists() else []


def _read(path: Path, header: Mapping) -> tuple[list[dict], int]:
    """Return the rows before the first line that is not whole, and where that line begins."""
    data = path.read_bytes()
    found, end = [], 0
    for line in data.splitlines(keepends=True):
        try:
            entry = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or not entry:
            break
        found.append(entry)
        end += len(line)
    wanted = canonical_json(header)
    # A kill can leave a part of the first line, but never another line, and nothing after it.
    if canonical_json(found[0]) != wanted if found else b"\n" in data:
        raise RunError(
            f"{path} is damaged or of another version: it must begin with {wanted}, it begins with "
            f"{data[:200]!r}; move it away and run the same command again"
        )
    return found[1:], end


@contextmanager
def locked(path: Path, busy: Exception) -> Iterator[None]:
    """Hold a lock file, which the operating system frees when the process ends, however it does.

    `busy` is raised where another process holds it.

    Raises
    ------
    RunError
        The file system has no such locks. Lock files that stand for themselves would outlive a
        killed job, and every other machine would wait for it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise busy from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise RunError(
            f"{path.parent} is on a file system without file locks ({error.strerror}); mount it "
            "with them (NFS 4, Lustre with -o flock), or make this folder a link to another one"
        ) from None
    try:
        yield
    finally:
        lock.release()
