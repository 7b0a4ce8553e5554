"""Loading a benchmark from its folder, with every check that can be made before a model starts."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

from sparsevlm.benchmarks.counting import groups_of
from sparsevlm.benchmarks.datasets.declared import Layout, datasets
from sparsevlm.benchmarks.loaders import parquet, videoqa
from sparsevlm.benchmarks.loaders.layout import DataError, part_of
from sparsevlm.benchmarks.registry import get_benchmark
from sparsevlm.benchmarks.sample import Sample
from sparsevlm.core.schedule import plain
from sparsevlm.models.images import load_image

SHOWN = 3  # of many like faults


def layout_of(name: str) -> Layout:
    """Return what a benchmark's folder must hold.

    Raises
    ------
    ValueError
        There is no such benchmark.
    """
    return datasets()[get_benchmark(name).name].layout


def load(name: str, folder: str | Path, *, complete: bool = True) -> list[Sample]:
    """Return all samples of a benchmark.

    Parameters
    ----------
    folder : path
        The benchmark's own folder (`layout_of(name).folder` in LLaVA's `playground/data/eval`), or
        a copy of its parquet files on the hub, where `parquet.COPIES` says how.
    complete : bool
        Also require the official number of samples, or that of the folder's `part.json`. False
        for whatever is there.

    Raises
    ------
    ValueError
        There is no such benchmark.
    DataError
        Files are missing or wrong, samples are too few, too many or there twice, a pair or a
        circular question is not whole, or an image is missing. The message says where to get it.
    """
    layout, folder, made = layout_of(name), Path(folder), []
    part, read = part_of(folder), partial(videoqa.read, name)
    if get_benchmark(name).media == "image":
        read = import_module(f"{__package__}.{name}").read
    if missing := layout.of_part(part).missing(folder):
        if not parquet.has_parquet(name, folder):
            copy = parquet.about_parquet(name, folder)
            raise DataError(f"{name}: " + "; ".join(missing + [copy] * bool(copy)))
        if parquet.can_complete(name, folder, layout):
            made = _read(partial(parquet.complete_from_copy, name), folder)
        else:
            layout, read = parquet.layout_of_copy(name), partial(parquet.read_copy, name)
    samples = _read(read, folder)
    faults = _faults(name, samples)
    if complete:
        faults += _wrong_counts(layout.of_part(part), samples)
    if not faults and (faults := _missing_media(samples, folder)):
        for path in made:  # of a copy that lacks some; another one is to be used whole
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if faults:
        raise DataError(f"{name} in {folder}: " + "; ".join(faults))
    return samples


def _read(read: Callable[[Path], list], folder: Path) -> list:
    try:
        return read(folder)
    except DataError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError) as error:  # values of odd types
        raise DataError(
            f"the files in {folder} are damaged or of another version ({error!r}); take those that "
            "`sparsevlm fetch` gets"
        ) from error


def _faults(name: str, samples: Sequence[Sample]) -> list[str]:
    """What the scorer would refuse, found by scoring the references against themselves."""
    rows = [{**sample.to_json(), "prediction": sample.answer} for sample in samples]
    counts = get_benchmark(name).sample_stats
    faults = []
    try:
        groups = groups_of(rows)
    except ValueError as error:
        return [str(error)]
    for group in groups.values():
        try:
            counts(group)
        except ValueError as error:
            faults.append(str(error))
    rest = len(faults) - SHOWN
    return faults[:SHOWN] + ([f"and {rest} more of this kind"] if rest > 0 else [])


def _wrong_counts(layout: Layout, samples: Sequence[Sample]) -> list[str]:
    by_split = Counter(sample.split for sample in samples)
    wanted = [("all", layout.rows, len(samples))] if layout.rows else []
    wanted += [(split, rows, by_split[split]) for split, rows in layout.splits.items()]
    faults = [
        f"{split}: {found} samples, {layout.owner} has {rows}"
        for split, rows, found in wanted
        if found != rows
    ]
    return faults + ([layout.hint] if faults and layout.hint else [])


def _missing_media(samples: Sequence[Sample], folder: Path) -> list[str]:
    names = dict.fromkeys(sample.media for sample in samples if sample.media)
    absent = [name for name in names if not (folder / name).exists()]
    if not absent:
        return []
    shown = ", ".join(absent[:SHOWN])
    return [f"{len(absent)} of {len(names)} pictures are missing, such as {shown}"]


def verify(name: str, folder: str | Path, *, complete: bool = True) -> list[str]:
    """Return what is wrong with a benchmark's folder, [] for nothing.

    All that `load` checks (MMBench's images are written while it does), and whether the first
    and the last image can be opened; videos are not opened.

    Raises
    ------
    ValueError
        There is no such benchmark.
    """
    folder = Path(folder)
    try:
        samples = load(name, folder, complete=complete)
    except (DataError, OSError) as error:
        return [str(error)]
    if get_benchmark(name).media == "video":
        return []
    pictures = [folder / sample.media for sample in samples if sample.media]
    faults = []
    for path in dict.fromkeys([*pictures[:1], *pictures[-1:]]):
        try:
            if path.is_file():
                load_image(path, "official")
        except (OSError, ValueError) as error:
            faults.append(str(error))
    return faults


def select(samples: Sequence[Sample], n: int, seed: int) -> list[Sample]:
    """Return at most `n` samples, whole groups, in their order; 0 returns all.

    Which ones depends on the seed and the names of the groups only, so a larger `n` adds to the
    smaller one's.

    Raises
    ------
    ValueError
        `n` is negative, or too small for one group.
    """
    n = plain(n)
    if type(n) is not int or n < 0:
        raise ValueError(f"n must be 0 for all samples, or a positive integer, got {n!r}")
    sizes = Counter(sample.group for sample in samples)
    if n == 0 or n >= len(samples):
        return list(samples)
    chosen: set[str] = set()
    left = n
    drawn = {group: hashlib.sha256(f"{seed}/{group}".encode()).hexdigest() for group in sizes}
    for group in sorted(sizes, key=drawn.__getitem__):
        if sizes[group] > left:
            break
        chosen.add(group)
        left -= sizes[group]
    if not chosen:
        raise ValueError(f"n = {n} is too small for a whole group, which has {max(sizes.values())}")
    return [sample for sample in samples if sample.group in chosen]
