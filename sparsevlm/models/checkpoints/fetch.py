"""Checkpoints and data onto the disk, whole and checked.

`fetch` shows what it will take, refuses where the disk is too small, has what is missing downloaded
(hub.py), checks every file against the digest that the hub states, and writes the lock file that
loading keeps to.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from sparsevlm.models.checkpoints.declared import Checkpoint
from sparsevlm.models.checkpoints.hub import CHANGED, LOST, Unreachable, download, listing
from sparsevlm.models.checkpoints.orders import GB, Job, Order, Say, Stock, shown
from sparsevlm.models.checkpoints.places import (
    CheckpointError,
    Locked,
    fault,
    read_lock,
    room_for,
    write_lock,
)

SPARE = 1_000_000_000  # bytes that stay free


def of_checkpoint(checkpoint: Checkpoint, folder: Path) -> Stock:
    """Return what is to be fetched for a checkpoint."""
    return Stock(tuple(Order(one, folder) for one in checkpoint.repositories))


def fetch(
    stocks: Sequence[Stock],
    *,
    endpoint: str | None = None,
    source: Path | None = None,
    dry_run: bool = False,
    say: Say = print,
) -> None:
    """Fetch what is missing.

    Parameters
    ----------
    stocks
        Of checkpoints (`of_checkpoint`) and data (`benchmarks.datasets`).
    endpoint
        Address of the hub; by default huggingface_hub's, which HF_ENDPOINT sets.
    source
        A folder whose files are used where they are what the hub states: linked, or copied from
        another disk.
    dry_run
        Only say what would be done, file by file; without a network from the table alone.
    say
        Takes the lines that a user reads; progress goes to standard error.

    Raises
    ------
    CheckpointError
        The disk is too small for all of it (nothing is fetched then), the hub cannot be reached,
        or a file is damaged on its way.
    """
    orders = dict.fromkeys(order for stock in stocks for order in stock.orders)
    folders = list(dict.fromkeys(order.folder for order in orders))
    with nullcontext() if dry_run else _alone(folders):
        jobs, offline = {}, ""
        for order in orders:
            jobs[order], reason = _plan(order, endpoint, dry_run, offline)
            offline = offline or reason
        if source and not dry_run:
            for job in jobs.values():
                _adopt(job, source)
        _tell(stocks, jobs, dry_run, say)
        _require_space(stocks, jobs)
        total = sum(job.left for job in jobs.values()) + sum(s.about_bytes for s in stocks)
        where = " and ".join(map(str, folders))
        if offline:
            why = offline.partition(";")[0]
            say(f"sizes and commits are those of our table; exact ones need the hub: {why}")
        if total or dry_run:
            say(f"{'would fetch' if dry_run else 'fetching'} {shown(total)} into {where}")
        if dry_run:
            return
        for stock in stocks:
            mine = [jobs[order] for order in stock.orders]
            for job in mine:
                # Written first: a fetch that goes on another day goes on with this commit.
                lock = read_lock(job.order.folder)
                write_lock(job.order.folder, {**lock, job.repository.key: job.locked})
                _run(job, endpoint)
            stock.finish(mine, say)
    if orders:
        say(f"all is in {where}, checked; loading needs no network from now on")
    else:
        say("nothing had to be fetched")


@contextmanager
def _alone(folders: Sequence[Path]) -> Iterator[None]:
    from filelock import FileLock, Timeout

    with ExitStack() as locks:
        for folder in folders:
            try:
                with room_for(folder):
                    folder.mkdir(parents=True, exist_ok=True)
                    locks.enter_context(FileLock(folder / "fetch.lock", timeout=0))
            except Timeout:
                raise CheckpointError(
                    f"another fetch into {folder} is running; let it finish, or stop it"
                ) from None
        yield


def _plan(order: Order, endpoint: str | None, dry_run: bool, offline: str) -> tuple[Job, str]:
    """The job of an order, and why the hub could not be asked for it."""
    repository = order.repository
    locked = read_lock(order.folder).get(repository.key)
    # What an earlier fetch pinned stays pinned; a mirror may have gone since.
    if locked is not None and any(one.accepts(locked.revision) for one in repository.served()):
        if not (repository.mirrors and Job(order, locked).todo):
            return Job(order, locked), ""
    try:
        if not offline:
            return Job(order, listing(repository, endpoint)), ""
    except Unreachable as error:
        if not dry_run:
            raise
        offline = str(error)
    return Job(order, Locked(repository.revision, ())), offline


def _tell(stocks: Sequence[Stock], jobs: dict[Order, Job], each: bool, say: Say) -> None:
    told: set[Order] = set()
    for stock in stocks:
        for note in stock.notes:
            say(note)
        for order in stock.orders:
            if order not in told:
                say(str(jobs[order]))
                for line in jobs[order].files() if each else ():
                    say(line)
            told.add(order)


def _adopt(job: Job, source: Path) -> None:
    """Take the files that a folder has as the hub states them."""
    if not source.is_dir():
        raise CheckpointError(f"--from {source} is no folder")
    for file in job.todo:
        if not fault(source, file):
            there = job.place / file.name
            there.parent.mkdir(parents=True, exist_ok=True)
            there.unlink(missing_ok=True)
            try:
                os.link((source / file.name).resolve(), there)
            except OSError:  # another disk
                shutil.copyfile(source / file.name, there)


def _require_space(stocks: Sequence[Stock], jobs: dict[Order, Job]) -> None:
    disks: dict[int, tuple[int, Path]] = {}
    needs = [(job.left * (2 if job.order.unpacked else 1), o.folder) for o, job in jobs.items()]
    for size, folder in [*needs, *((s.about_bytes, s.folder) for s in stocks if s.about_bytes)]:
        while not folder.exists():
            folder = folder.parent
        disk = folder.stat().st_dev
        disks[disk] = (disks.get(disk, (0, folder))[0] + size, folder)
    for needed, folder in disks.values():
        free = shutil.disk_usage(folder).free
        if needed and needed + SPARE > free:
            raise CheckpointError(
                f"{needed / GB:.2f} GB are to be fetched into {folder} and {SPARE / GB:.0f} GB "
                f"should stay free, but only {free / GB:.2f} GB are; free some space, name another "
                "disk with --folder or --data, or fetch fewer (nothing was fetched)"
            )


def _run(job: Job, endpoint: str | None) -> None:
    """Download what is missing and check it."""
    if not (todo := job.todo):
        return
    with room_for(job.place):
        download(job.repository, job.locked, todo, job.place, endpoint)
    # huggingface_hub does not compare contents, and returns what is there where the hub is away.
    for file in todo:
        path = job.place / file.name
        if not path.is_file():
            raise CheckpointError(LOST.format(job.repository.id, f"{file.name} did not come"))
        if fault(job.place, file):
            path.unlink()
            raise CheckpointError(CHANGED.format(file.name, job.repository.id))


def check(stocks: Sequence[Stock]) -> list[str]:
    """Read the files of some orders again; return a sentence for each that is not right.

    A file with another content is deleted, so that the next `fetch` gets it anew.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]

    found = []
    for order in dict.fromkeys(order for stock in stocks for order in stock.orders):
        repository = order.repository
        if not (locked := read_lock(order.folder).get(repository.key)):
            found.append(f"{repository.id} has not been fetched")
            continue
        here = Job(order, locked).place
        for file in tqdm(locked.files, desc=repository.id, unit="file", file=sys.stderr):
            if sentence := fault(here, file):
                (here / file.name).unlink(missing_ok=True)
                found.append(f"{repository.id}: {sentence}; fetch it again")
    return found
