"""`sparsevlm fetch`: checkpoints onto the disk, whole and checked, in several tries.

Shows what it will take, refuses where the disk is too small, goes on where it stopped, checks every
file against the digest that the hub states, and writes the lock file that loading keeps to.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

from sparsevlm.models.checkpoints.declared import CHECKPOINTS, Checkpoint, Repository, find
from sparsevlm.models.checkpoints.hub import LostConnectionError, download, listing
from sparsevlm.models.checkpoints.places import (
    CheckpointError,
    FileEntry,
    Locked,
    default_folder,
    missing,
    place,
    read_lock,
    write_lock,
)
from sparsevlm.models.checkpoints.verify import content_digest, damaged

SPARE = 1_000_000_000  # bytes that stay free
TRIES = 5  # in a row without a new byte
GB = 1e9


def main(options: SimpleNamespace) -> int:
    """Run the command; 0 if all that was asked for is there, else 1.

    Parameters
    ----------
    options : SimpleNamespace
        `names`, `folder` (Path or None), `source` (Path or None), `check` and `dry_run`.

    Raises
    ------
    ValueError
        An unknown name.
    CheckpointError
        The disk is too small, or the hub cannot be reached.
    """
    chosen = [find(name) for name in options.names] or list(CHECKPOINTS)
    folder = options.folder or default_folder()
    if options.check:
        return 1 if check(chosen, folder) else 0
    fetch(chosen, folder, source=options.source, dry_run=options.dry_run)
    return 0


@dataclass(frozen=True)
class Job:
    """One repository and what is still to be fetched of it."""

    repository: Repository
    locked: Locked
    place: Path
    todo: tuple[FileEntry, ...]

    @property
    def bytes_left(self) -> int:
        """Bytes still to come."""
        return sum(file.size - _have(self.place, file) for file in self.todo)


def _partial(folder: Path, file: FileEntry) -> Path:
    return folder / f"{file.name}.{file.digest[:16]}.partial"


def _have(folder: Path, file: FileEntry) -> int:
    partial = _partial(folder, file)
    return min(partial.stat().st_size, file.size) if partial.exists() else 0


def fetch(
    checkpoints: Sequence[Checkpoint],
    folder: Path,
    *,
    endpoint: str | None = None,
    source: Path | None = None,
    dry_run: bool = False,
    say: Callable[[str], object] = print,
) -> None:
    """Fetch what is missing of some checkpoints.

    Parameters
    ----------
    checkpoints
        Which.
    folder
        Where to (see places.py).
    endpoint
        Address of the hub; by default huggingface_hub's.
    source
        A folder whose files are used where they are what the hub states: linked, or copied from
        another disk.
    dry_run
        Only say what would be done.
    say
        Takes the lines that a user reads; progress goes to standard error.

    Raises
    ------
    CheckpointError
        The disk is too small for all of it (nothing is fetched then), the hub cannot be reached,
        or a file is damaged on its way.
    """
    with _alone(folder):
        jobs = [_plan(r, folder, endpoint) for c in checkpoints for r in c.repositories]
        if source and not dry_run:
            jobs = [_adopted(job, source) for job in jobs]
        for job in jobs:
            say(_line(job))
        total = sum(job.bytes_left for job in jobs)
        _require_space(total, folder)
        if dry_run:
            say(f"would fetch {total / GB:.2f} GB into {folder}")
            return
        for job in jobs:
            _run(job, folder, endpoint)
    say(f"all is in {folder}, checked; loading needs no network from now on")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second fetch out: both would append to the same partial file."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "fetch.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CheckpointError(
            f"another fetch into {folder} is running; let it finish, or stop it"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _plan(repository: Repository, folder: Path, endpoint: str | None) -> Job:
    known = read_lock(folder).get(repository.id)
    # What an earlier fetch pinned stays pinned.
    revision = known.revision if known and not repository.pinned else repository.revision
    if known and known.revision == revision:
        locked = known
    else:
        locked = listing(repository, revision, endpoint)
    found = place(repository, locked.revision, folder)
    return Job(
        repository, locked, found, tuple(f for f in locked.files if any(missing(found, [f])))
    )


def _adopted(job: Job, source: Path) -> Job:
    """The job without the files that a folder has as the hub states them."""
    if not source.is_dir():
        raise CheckpointError(f"--from {source} is no folder")
    job.place.mkdir(parents=True, exist_ok=True)
    for file in job.todo:
        if damaged(source, [file]):
            continue
        path, partial = (source / file.name).resolve(), _partial(job.place, file)
        partial.unlink(missing_ok=True)
        try:
            os.link(path, partial)
        except OSError:  # another disk
            shutil.copyfile(path, partial)
        partial.replace(job.place / file.name)
    return replace(job, todo=tuple(f for f in job.todo if any(missing(job.place, [f]))))


def _line(job: Job) -> str:
    state = f"{job.bytes_left / GB:.2f} GB to fetch" if job.todo else "is there"
    return (
        f"{job.repository.id} @ {job.locked.revision[:12]}: {job.locked.size / GB:.2f} GB, "
        f"{state} ({job.repository.licence})"
    )


def _require_space(needed: int, folder: Path) -> None:
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if needed and needed + SPARE > free:
        raise CheckpointError(
            f"{needed / GB:.2f} GB are to be fetched into {folder} and {SPARE / GB:.0f} GB should "
            f"stay free, but only {free / GB:.2f} GB are; free some space, name another disk with "
            "--folder, or fetch fewer checkpoints (nothing was fetched)"
        )


def _run(job: Job, folder: Path, endpoint: str | None) -> None:
    job.place.mkdir(parents=True, exist_ok=True)
    # Written first: a fetch that goes on another day goes on with this commit.
    write_lock(folder, {**read_lock(folder), job.repository.id: job.locked})
    if not job.todo:
        return
    from tqdm import tqdm

    with tqdm(
        total=sum(file.size for file in job.todo), desc=job.repository.id, unit="B",
        unit_scale=True, file=sys.stderr, mininterval=1,
    ) as bar:  # fmt: skip
        for file in job.todo:
            _fetch_file(job, file, bar.update, endpoint)


def _fetch_file(job: Job, file: FileEntry, seen: Callable, endpoint: str | None) -> None:
    partial = _partial(job.place, file)
    seen(_have(job.place, file))
    tries = TRIES
    while (have := _have(job.place, file)) < file.size or not partial.exists():
        try:
            download(job.repository.id, job.locked.revision, file, partial, seen, endpoint)
        except LostConnectionError:
            tries = TRIES if _have(job.place, file) > have else tries - 1
            if not tries:
                raise
            time.sleep(2 ** (TRIES - tries) / 4)
        else:
            if _have(job.place, file) <= have:
                break  # it ends before the size that the hub states
    if partial.stat().st_size != file.size or (content_digest(partial, file.kind) != file.digest):
        partial.unlink()
        raise CheckpointError(
            f"{file.name} of {job.repository.id} came with another content than the hub states; "
            "it was thrown away. Run the same command again; if it happens again, a proxy or a "
            "mirror on the way changes files"
        )
    partial.replace(job.place / file.name)


def check(
    checkpoints: Sequence[Checkpoint], folder: Path, say: Callable[[str], object] = print
) -> list[str]:
    """Read the files of some checkpoints again; return a sentence for each that is not right.

    A file with another content is deleted, so that the next `fetch` gets it anew.
    """
    from tqdm import tqdm

    locks, found = read_lock(folder), []
    for repository in (r for c in checkpoints for r in c.repositories):
        if not (locked := locks.get(repository.id)):
            found.append(f"{repository.id} has not been fetched")
            continue
        here = place(repository, locked.revision, folder)
        with tqdm(total=locked.size, desc=repository.id, unit="B", unit_scale=True,
                  file=sys.stderr, mininterval=1) as bar:  # fmt: skip
            for file in locked.files:
                for sentence in damaged(here, [file], bar.update):
                    (here / file.name).unlink(missing_ok=True)
                    found.append(f"{repository.id}: {sentence}; fetch it again")
    for sentence in found:
        say(sentence)
    say("check: all is well" if not found else f"check: {len(found)} problem(s)")
    return found
