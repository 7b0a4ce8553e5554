"""Checkpoints onto the disk, whole and checked.

`fetch` shows what it will take, refuses where the disk is too small, lets huggingface_hub download
what is missing, checks every file against the digest that the hub states, and writes the lock file
that loading keeps to.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from sparsevlm.models.checkpoints.declared import Checkpoint, Repository
from sparsevlm.models.checkpoints.places import (
    CheckpointError,
    FileEntry,
    Locked,
    fault,
    place,
    read_lock,
    write_lock,
)

SPARE = 1_000_000_000  # bytes that stay free
GB = 1e9
# Weights, and texts that the loaders read. Pickles, code and training states are not fetched.
WANTED = (".safetensors", ".json", ".model", ".txt", ".jinja")
CHANGED = (
    "{} of {} came with another content than the hub states; it was thrown away. Run the same "
    "command again; if it happens again, a proxy or a mirror on the way changes files"
)
LOST = (
    "the connection to the hub failed at {} ({}); whole files are kept, the same command goes on "
    "from there. Behind a firewall set HTTPS_PROXY, or HF_ENDPOINT to a mirror"
)
LEFT_OUT = {"trainer_state.json", "pytorch_model.bin.index.json"}


@dataclass(frozen=True)
class Job:
    """One repository, what it must hold and where."""

    repository: Repository
    locked: Locked
    place: Path

    @property
    def todo(self) -> list[FileEntry]:
        """Files that are still to be fetched."""
        return [f for f in self.locked.files if fault(self.place, f, read=False)]

    def __str__(self) -> str:
        size, left = (sum(f.size for f in files) / GB for files in (self.locked.files, self.todo))
        state = f"{left:.2f} GB to fetch" if self.todo else "is there"
        return (
            f"{self.repository.id} @ {self.locked.revision[:12]}: {size:.2f} GB, {state} "
            f"({self.repository.licence})"
        )


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
        Address of the hub; by default huggingface_hub's, which HF_ENDPOINT sets.
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
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "fetch.lock", timeout=0):
            jobs = [_plan(r, folder, endpoint) for c in checkpoints for r in c.repositories]
            if source and not dry_run:
                for job in jobs:
                    _adopt(job, source)
            for job in jobs:
                say(str(job))
            total = sum(file.size for job in jobs for file in job.todo)
            _require_space(total, folder)
            if dry_run:
                say(f"would fetch {total / GB:.2f} GB into {folder}")
                return
            for job in jobs:
                # Written first: a fetch that goes on another day goes on with this commit.
                write_lock(folder, {**read_lock(folder), job.repository.id: job.locked})
                _run(job, endpoint)
    except Timeout:
        raise CheckpointError(
            f"another fetch into {folder} is running; let it finish, or stop it"
        ) from None
    say(f"all is in {folder}, checked; loading needs no network from now on")


def _plan(repository: Repository, folder: Path, endpoint: str | None) -> Job:
    locked = read_lock(folder).get(repository.id)
    # What an earlier fetch pinned stays pinned.
    if locked is None or (repository.pinned and locked.revision != repository.revision):
        locked = _listing(repository, endpoint)
    return Job(repository, locked, place(repository, locked.revision, folder))


def _listing(repository: Repository, endpoint: str | None) -> Locked:
    """Ask the hub for the commit, and the wanted files at its top level with their digests."""
    from huggingface_hub import HfApi

    with _explained(repository):
        info = HfApi(endpoint=endpoint).model_info(
            repository.id, revision=repository.revision, files_metadata=True
        )
    files = [
        _entry(file)
        for file in info.siblings
        if file.rfilename.endswith(WANTED)
        and "/" not in file.rfilename
        and file.rfilename not in LEFT_OUT
    ]
    if not any(file.name.endswith(".safetensors") for file in files):
        raise CheckpointError(
            f"{repository.id} at {repository.revision} has no safetensors; pickled weights (.bin) "
            "can run any code when they are opened and are not fetched. Look for a revision with "
            "safetensors, or convert a copy that you trust and give its folder"
        )
    return Locked(info.sha, tuple(files))


def _entry(file: Any) -> FileEntry:
    if file.lfs is not None:
        return FileEntry(file.rfilename, file.lfs["size"], "sha256", file.lfs["sha256"])
    return FileEntry(file.rfilename, file.size, "git", file.blob_id)


def _adopt(job: Job, source: Path) -> None:
    """Take the files that a folder has as the hub states them."""
    if not source.is_dir():
        raise CheckpointError(f"--from {source} is no folder")
    job.place.mkdir(parents=True, exist_ok=True)
    for file in job.todo:
        if not fault(source, file):
            there = job.place / file.name
            there.unlink(missing_ok=True)
            try:
                os.link((source / file.name).resolve(), there)
            except OSError:  # another disk
                shutil.copyfile(source / file.name, there)


def _require_space(needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed and needed + SPARE > free:
        raise CheckpointError(
            f"{needed / GB:.2f} GB are to be fetched into {folder} and {SPARE / GB:.0f} GB should "
            f"stay free, but only {free / GB:.2f} GB are; free some space, name another disk with "
            "--folder, or fetch fewer checkpoints (nothing was fetched)"
        )


def _run(job: Job, endpoint: str | None) -> None:
    """Download what is missing and check it; huggingface_hub takes up a lost connection."""
    from huggingface_hub import snapshot_download

    if not (todo := job.todo):
        return
    try:
        with _explained(job.repository):
            snapshot_download(
                job.repository.id,
                revision=job.locked.revision,
                local_dir=job.place,
                allow_patterns=[file.name for file in todo],
                endpoint=endpoint,
            )
    except OSError as error:
        if "Consistency check failed" not in str(error):  # huggingface_hub's, of a file's size
            raise
        raise CheckpointError(CHANGED.format("a file", job.repository.id)) from error
    # huggingface_hub does not compare contents, and returns what is there where the hub is away.
    for file in todo:
        path = job.place / file.name
        if not path.is_file():
            raise CheckpointError(LOST.format(job.repository.id, f"{file.name} did not come"))
        if fault(job.place, file):
            path.unlink()
            raise CheckpointError(CHANGED.format(file.name, job.repository.id))


@contextmanager
def _explained(repository: Repository) -> Iterator[None]:
    """Turn what the hub's client raises into one sentence that says what to do."""
    from huggingface_hub import errors, get_session

    # httpx or httpx2, whichever this release of huggingface_hub uses.
    client = import_module(type(get_session()).__module__.partition(".")[0])
    sentences = {
        errors.OfflineModeIsEnabled: "the environment variable HF_HUB_OFFLINE forbids the network; "
        "unset it to fetch",
        errors.GatedRepoError: f"{repository.id} asks for its terms to be accepted: open its page "
        "on the hub, accept them, and log in with `hf auth login`",
        errors.RevisionNotFoundError: f"the hub knows {repository.id}, but not its revision "
        f"{repository.revision}; its history may have been rewritten: give a local folder with "
        "the files instead",
        errors.RepositoryNotFoundError: f"the hub does not show {repository.id} (it was moved, or "
        "needs a login: `hf auth login`)",
    }
    hub = (client.HTTPError, errors.HfHubHTTPError, errors.LocalEntryNotFoundError)
    try:
        yield
    except (*sentences, *hub) as error:
        known = (text for kind, text in sentences.items() if isinstance(error, kind))
        text = next(known, LOST.format(repository.id, error or type(error).__name__))
        raise CheckpointError(text) from error


def check(
    checkpoints: Sequence[Checkpoint], folder: Path, say: Callable[[str], object] = print
) -> list[str]:
    """Read the files of some checkpoints again; return a sentence for each that is not right.

    A file with another content is deleted, so that the next `fetch` gets it anew.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]

    locks, found = read_lock(folder), []
    for repository in (r for c in checkpoints for r in c.repositories):
        if not (locked := locks.get(repository.id)):
            found.append(f"{repository.id} has not been fetched")
            continue
        here = place(repository, locked.revision, folder)
        for file in tqdm(locked.files, desc=repository.id, unit="file", file=sys.stderr):
            if sentence := fault(here, file):
                (here / file.name).unlink(missing_ok=True)
                found.append(f"{repository.id}: {sentence}; fetch it again")
    for sentence in found:
        say(sentence)
    say("check: all is well" if not found else f"check: {len(found)} problem(s)")
    return found
