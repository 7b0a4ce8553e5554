"""Write a file atomically: after a crash there is the whole new file, or the old one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path, *, many: bool = False) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it becomes `path` only if the block succeeds.

    Parameters
    ----------
    path : Path
        The file to be; its folder is made where it is missing. The temporary name keeps the
        suffix, because writers choose their format by it. Its permissions are those that `open`
        gives: by the umask, or of the file that is there.
    many : bool
        Whether it is one of thousands that can be made again, several processes may be at: it is
        not synced, and the temporary name is the process's own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = f".{os.getpid()}" if many else ""
    partial = path.with_name(f"{path.stem}{own}.partial{path.suffix}")
    try:
        yield partial
        if not many:  # before the rename, or a power cut could leave the name without the bytes
            _sync(partial)
        with suppress(FileNotFoundError):  # last: a file that is read-only cannot be synced
            shutil.copymode(path, partial)
        os.replace(partial, path)
    finally:
        remove(partial)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    with replacing(path) as partial:
        file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            write_all(file, text.encode())
        finally:
            os.close(file)


def write_all(file: int, data: bytes) -> None:
    """Write all of `data` to an open file; a disk that fills up takes a part, then raises."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
