"""Are the files of a checkpoint what the hub said they are?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from sparsevlm.models.checkpoints.places import FileEntry, missing

CHUNK = 1 << 22


def content_digest(path: Path, kind: str, seen: Callable[[int], object] | None = None) -> str:
    """Return the digest of a file.

    Parameters
    ----------
    path
        The file.
    kind
        "sha256", or "git": SHA-1 over "blob", the size, a zero byte and the content.
    seen
        Called with the number of bytes just read, for a progress bar.

    Raises
    ------
    ValueError
        For another kind.
    """
    if kind == "sha256":
        total = hashlib.sha256()
    elif kind == "git":
        total = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        raise ValueError(f"a digest is of kind 'sha256' or 'git', got {kind!r}")
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            total.update(chunk)
            if seen:
                seen(len(chunk))
    return total.hexdigest()


def damaged(
    folder: Path, files: Iterable[FileEntry], seen: Callable[[int], object] | None = None
) -> list[str]:
    """Return a sentence for each file that is missing, too short, or has another content.

    Reads everything: about ten seconds for a model of 14 GB on a fast disk.
    """
    files = tuple(files)
    wrong = list(missing(folder, files))
    whole = [file for file in files if (folder / file.name).is_file()
             and (folder / file.name).stat().st_size == file.size]  # fmt: skip
    for file in whole:
        if content_digest(folder / file.name, file.kind, seen) != file.digest:
            wrong.append(f"{file.name} has another content than the hub says (damaged)")
    return wrong
