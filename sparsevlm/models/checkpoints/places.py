"""Where fetched files lie, and the lock file that says what they must be.

    FOLDER/ORGANISATION--NAME/COMMIT/...   the files of a checkpoint's repository at one commit
    FOLDER/checkpoints.lock.json           per repository: commit, and size and digest of each file

The folder is that of the environment variable SPARSEVLM_CHECKPOINTS, else
``~/.cache/sparsevlm/checkpoints``. Data sets have the same lock file in their folder; their files
lie where the loaders read them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import NonNegativeInt, TypeAdapter, ValidationError

from sparsevlm.models.atomic import write_text
from sparsevlm.models.checkpoints.declared import Repository

VARIABLE = "SPARSEVLM_CHECKPOINTS"
LOCK = "checkpoints.lock.json"
CHUNK = 1 << 22
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


class CheckpointError(OSError):
    """What is fetched is missing, damaged, or of a kind that is not loaded; says what to do."""


@dataclass(frozen=True)
class FileEntry:
    """One file of a repository, as the hub describes it.

    Attributes
    ----------
    name, size : str and int
        Path inside the repository, and bytes.
    kind, digest : str
        "sha256" (large files) or "git" (small ones), see `content_digest`; and hexadecimal digits.

    Raises
    ------
    ValueError
        The path leads out of the repository.
    """

    name: str
    size: NonNegativeInt
    kind: Literal["sha256", "git"]
    digest: str

    def __post_init__(self) -> None:
        path = PurePosixPath(self.name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{self.name!r} leads out of its folder")


@dataclass(frozen=True)
class Locked:
    """What a fetch got of a repository: the commit, and all files that belong to it."""

    revision: str
    files: tuple[FileEntry, ...]
    source: str = ""  # who served it, where that was a mirror

    def __post_init__(self) -> None:
        if not self.revision:
            raise ValueError("a revision is empty")


@dataclass(frozen=True)
class _Lock:
    """The lock file."""

    format: Literal[1]
    repositories: dict[str, Locked]


def default_folder() -> Path:
    """Return where checkpoints are kept unless a folder is named."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else Path.home() / ".cache/sparsevlm/checkpoints"


def place(repository: Repository | str, revision: str, folder: Path) -> Path:
    """Return the folder of one repository at one commit."""
    name = repository if isinstance(repository, str) else repository.id
    return folder / name.replace("/", "--") / revision


def read_lock(folder: Path) -> dict[str, Locked]:
    """Return what was fetched into a folder, by repository; empty where nothing was.

    Raises
    ------
    CheckpointError
        The lock file is damaged, or of another version.
    """
    path = folder / LOCK
    try:
        with room_for(path):
            content = path.read_bytes()
        return TypeAdapter(_Lock).validate_json(content, strict=True).repositories
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        first = error.errors()[0]
        where = " ".join(map(str, first["loc"])) or "the file"
        raise CheckpointError(
            f"{path} cannot be read ({where}: {first['msg']}); delete it and run `sparsevlm fetch` "
            "again, which keeps the files that are there with their right size"
        ) from error


def write_lock(folder: Path, repositories: dict[str, Locked]) -> None:
    """Write the lock file atomically."""
    locks = {name: asdict(locked) for name, locked in sorted(repositories.items())}
    text = json.dumps({"format": 1, "repositories": locks}, indent=1)
    write_text(folder / LOCK, f"{text}\n")


def locate(repository: Repository, folder: Path) -> Path:
    """Return the folder of a repository's files, all of them there and of the right size.

    Reads no content: `fault` does.

    Raises
    ------
    CheckpointError
        Nothing, another revision or only a part of it has been fetched.
    """
    again = f"run `sparsevlm fetch {repository.id}`"
    if not (locked := read_lock(folder).get(repository.key)):
        raise CheckpointError(
            f"{repository.id} has not been fetched into {folder}; {again} "
            f"(about {repository.about_bytes / 1e9:.1f} GB), set {VARIABLE} if it lies elsewhere, "
            "or give a local folder"
        )
    if not repository.accepts(locked.revision):
        raise CheckpointError(
            f"{repository.id} was fetched at {locked.revision[:12]}, and this version of the suite "
            f"uses {repository.revision[:12]}; {again}"
        )
    found = place(repository, locked.revision, folder)
    for file in locked.files:
        if wrong := fault(found, file, read=False):
            raise CheckpointError(f"{repository.id} is not complete in {found}: {wrong}; {again}")
    return found


def fault(folder: Path, file: FileEntry, read: bool = True) -> str:
    """Return what is wrong with a file, "" for nothing.

    With ``read`` its content is compared with the digest: about ten seconds for a model of 14 GB.
    """
    path = folder / file.name
    if not path.is_file():
        return f"{file.name} is missing"
    if (size := path.stat().st_size) != file.size:
        return f"{file.name} has {size} bytes instead of {file.size}"
    if read and content_digest(path, file.kind) != file.digest:
        return f"{file.name} has another content than the hub says (damaged)"
    return ""


def content_digest(path: Path, kind: str = "sha256") -> str:
    """Return the digest of a file: "sha256", or "git" for the SHA-1 that git gives a blob."""
    total = hashlib.sha256()
    if kind == "git":
        total = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            total.update(chunk)
    return total.hexdigest()


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Say in one sentence that a file or folder cannot be written or used."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise CheckpointError(
                f"the disk is full at {path}, or this user may write no more; what was fetched is "
                "kept: free some space, then the same command goes on"
            ) from error
        if error.errno in FORBIDDEN:
            raise CheckpointError(
                f"{path} cannot be used ({error.strerror}: {error.filename}); what was fetched is "
                "kept: change that, or name another folder with --folder or --data"
            ) from error
        raise
