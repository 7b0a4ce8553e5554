"""Running cells and reading their records: what the command line, tables and figures call."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from queue import Empty

from sparsevlm.reproduce.cell import Cell, Record
from sparsevlm.reproduce.plan import as_profile, plan_cells, source_of
from sparsevlm.reproduce.profiles import Profile
from sparsevlm.reproduce.sources import MiniatureSource, Source
from sparsevlm.reproduce.store import CellBusyError, Store, StoreError

__all__ = [
    "Cell",
    "CellBusyError",
    "Record",
    "Store",
    "StoreError",
    "load_records",
    "missing_cells",
    "plan_cells",
    "run_cells",
]

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2


def missing_cells(cells: Iterable[Cell], store: Store | None = None) -> list[Cell]:
    """Return the cells that are not finished, each once, in order."""
    store = store or Store()
    return [cell for cell in dict.fromkeys(cells) if not store.has(cell)]


def load_records(
    profile: Profile | str, *, source: Source | None = None, store: Store | None = None
) -> list[Record]:
    """Return the record of every cell of a profile; reads files only, no torch.

    Raises
    ------
    FileNotFoundError
        Some cells are not finished; the message says how many and how to run them.
    """
    profile, store = as_profile(profile), store or Store()
    cells = plan_cells(profile, source=source or source_of(profile), store=store)
    if missing := missing_cells(cells, store):
        raise FileNotFoundError(
            f"{len(missing)} of {len(cells)} results of profile {profile.name!r} are missing "
            f"(the first: {missing[0].title}); "
            f"run `python -m sparsevlm reproduce --profile {profile.name}`"
        )
    return [store.load(cell) for cell in cells]


def run_cells(
    cells: Sequence[Cell],
    store: Store | None = None,
    jobs: int = 1,
    progress: bool = True,
    *,
    source: Source | None = None,
) -> None:
    """Run the cells that are not finished, in worker processes of one thread each.

    Parameters
    ----------
    cells : sequence of Cell
        From `plan_cells`; finished ones are left alone.
    store : Store, optional
        Default: `results/`.
    jobs : int
        Worker processes.
    progress : bool
        Show one line: samples done, all samples, time left.
    source : Source, optional
        Default: the bundled miniature.

    Raises
    ------
    CellBusyError
        Another process works on some of the cells; all others are finished.
    StoreError
        The disk is full, or a worker died. What was answered is kept.
    ValueError
        `jobs` is not a positive integer.
    """
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise ValueError(f"jobs must be a positive integer, got {jobs!r}")
    store = store or Store()
    todo = missing_cells(cells, store)
    if not todo:
        return
    log.info("%d of %d cells to run", len(todo), len(cells))
    busy = _run_all(todo, store, min(jobs, len(todo)), progress, source or MiniatureSource())
    if waiting := missing_cells(busy, store):
        raise CellBusyError(
            f"{len(waiting)} cells are being run by another process "
            f"(the first: {waiting[0].title}); run the command again when that has ended"
        )


def _run_all(
    todo: list[Cell], store: Store, jobs: int, progress: bool, source: Source
) -> list[Cell]:
    """Run cells in a pool of workers; return those that were busy elsewhere."""
    from tqdm import tqdm

    from sparsevlm.reproduce.workers import start_worker, work

    context = get_context("spawn")  # a forked torch can hang
    messages = context.Queue()
    samples = sum(cell.num_samples for cell in todo)
    with (
        ProcessPoolExecutor(jobs, context, start_worker, (source, store, messages)) as pool,
        tqdm(total=samples, unit="samples", disable=not progress, mininterval=1) as bar,
    ):
        futures = {pool.submit(work, cell): cell for cell in todo}
        try:
            _follow(futures, messages, bar)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [cell for future, cell in futures.items() if not future.result()]


def _follow(futures: dict[Future, Cell], messages, bar) -> None:
    """Move the bar until all is done; raise the first error of a worker."""
    open_futures = set(futures)
    while open_futures:
        done, open_futures = wait(open_futures, POLL_SECONDS, FIRST_COMPLETED)
        bar.set_description(f"{len(futures) - len(open_futures)}/{len(futures)} cells")
        _drain(messages, bar)
        for future in done:
            try:
                future.result()
            except BrokenProcessPool as error:
                raise StoreError(
                    "a worker process died (killed, or out of memory); what was answered is kept. "
                    "Run the same command again, with fewer --jobs if memory is short"
                ) from error


def _drain(messages, bar) -> None:
    while True:
        try:
            bar.update(messages.get_nowait())
        except Empty:
            return
