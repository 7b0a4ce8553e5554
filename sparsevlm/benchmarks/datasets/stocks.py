"""What is fetched for a benchmark, and what is done with it until the loaders accept it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from sparsevlm.benchmarks.datasets.declared import Source, datasets
from sparsevlm.benchmarks.datasets.unpack import unpack
from sparsevlm.benchmarks.datasets.videos import collect, needs_videos, write_part
from sparsevlm.benchmarks.loaders import layout_of, verify
from sparsevlm.models.checkpoints.orders import Job, Order, Say, Stock, shown
from sparsevlm.models.checkpoints.places import CheckpointError, fault, read_lock

SHARED = ".fetch"  # in the data folder: archives that several benchmarks take from


def of_benchmark(name: str, data: Path, endpoint: str | None = None) -> Stock:
    """Return what is to be fetched for a benchmark; nothing where its data are complete.

    Raises
    ------
    CheckpointError
        A package is missing that reads what would be fetched.
    """
    folder, dataset = data / layout_of(name).folder, datasets()[name]
    if not verify(name, folder):
        lasting = f"{name}: is complete in {folder}"
        return Stock((), lambda jobs, say: _tidy(name, data), notes=(lasting,))
    _forget_damaged(name, data)
    sources = [
        one for one in dataset.sources
        if not one.passing or not all((folder / made).exists() for made in one.passing)
    ]  # fmt: skip
    tables = any(pattern.endswith(".parquet") for one in sources for pattern in one.of.files)
    if tables and find_spec("pyarrow") is None:
        raise CheckpointError(
            f"the data of {name} come as parquet files, which the package pyarrow reads: "
            "pip install 'sparsevlm-repro[a100]' first (nothing was fetched)"
        )
    notes, about = [f"{name}:"], 0
    if dataset.videos and needs_videos(name, folder):
        where, about = dataset.videos.of, dataset.videos.of.about_bytes
        notes.append(
            f"{where.id} @ {where.revision[:12]}: the videos of the first 1000 questions, "
            f"about {shown(about)} by a guess ({where.licence}); we have not seen its "
            "listing, the fetch looks for them by their names"
        )
    if dataset.by_hand:
        notes.append(f"{name}, by hand: {dataset.by_hand}")

    def finish(jobs: Sequence[Job], say: Say) -> None:
        _finish(name, data, list(zip(sources, jobs, strict=True)), endpoint, say)

    orders = tuple(_order(source, data, folder) for source in sources)
    return Stock(orders, finish, tuple(notes), about, data)


def tidied(data: Path) -> Stock:
    """Return an order of nothing, after which no archive is left."""

    def finish(jobs: Sequence[Job], say: Say) -> None:
        shutil.rmtree(data / SHARED, ignore_errors=True)

    return Stock((), finish)


def kept(name: str, data: Path) -> Stock:
    """Return the orders whose files stay in a benchmark's folder as they came."""
    folder = data / layout_of(name).folder
    lasting = [one for one in datasets()[name].sources if not one.passing]
    locks = read_lock(data)
    return Stock(tuple(_order(one, data, folder) for one in lasting if one.of.key in locks))


def problems(names: Sequence[str], data: Path) -> list[str]:
    """Return a sentence for each benchmark that the loaders do not accept."""
    found = [(name, verify(name, data / layout_of(name).folder)) for name in names]
    return [f"{name}: {wrong[0]}" for name, wrong in found if wrong]


def _tidy(name: str, data: Path) -> None:
    """Delete tables and archives that official files were made of."""
    folder, locks = data / layout_of(name).folder, read_lock(data)
    for source in datasets()[name].sources:
        if source.passing and not source.of.sha256 and source.of.key in locks:
            for file in locks[source.of.key].files:
                (folder / file.name).unlink(missing_ok=True)
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _order(source: Source, data: Path, folder: Path) -> Order:
    into = data / SHARED if source.of.sha256 else folder
    return Order(source.of, data, into, unpacked=bool(source.passing))


def _forget_damaged(name: str, data: Path) -> None:
    """Delete files that have the right size and another content; a fetch compares sizes only."""
    for order in kept(name, data).orders:
        for file in read_lock(data)[order.repository.key].files:
            if order.into and (order.into / file.name).is_file() and fault(order.into, file):
                (order.into / file.name).unlink()


def _finish(
    name: str, data: Path, fetched: list[tuple[Source, Job]], endpoint: str | None, say: Say
) -> None:
    layout, dataset = layout_of(name), datasets()[name]
    folder = data / layout.folder
    for source, job in fetched:
        for archive in job.locked.files if source.unpack else ():
            unpack(job.place, archive, folder, source.unpack)
    if dataset.videos:
        collect(name, data, endpoint, say)
    elif dataset.part and not all((folder / file).exists() for file in layout.spare):
        write_part(folder, dataset)
    if wrong := verify(name, folder):
        made = [file for source in dataset.sources for file in source.passing]
        anew = f" ({', '.join(made)}: delete what is damaged, and it is made anew)" if made else ""
        raise CheckpointError(f"{name} was fetched, but {wrong[0]}{anew}")
    _tidy(name, data)
    say(f"{name}: complete in {folder}" + (f" ({dataset.part.note})" if dataset.part else ""))
