"""Benchmarks from a folder of parquet files, as the lmms-lab organisation keeps them on the hub.

Two ways. Where the official questions lie beside a copy (`sparsevlm fetch` gets both), the copy
gives what else is missing, such as pictures, and everything after is the official way. Where a copy
is alone and has all that the official prompt needs, it is read itself.

In these tables an image is a structure of its file's bytes and name; reading needs pyarrow alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from types import ModuleType

from filelock import FileLock

from sparsevlm.benchmarks.datasets.declared import Layout, datasets
from sparsevlm.benchmarks.loaders import pope, scienceqa, textvqa
from sparsevlm.benchmarks.loaders.layout import DataError, write_file, write_picture
from sparsevlm.benchmarks.sample import Sample

PICTURES = "pictures"  # folder that the images are written to
WITHOUT_PICTURES = ("scienceqa",)  # whose rows may have none
AGAIN = "take the table that `sparsevlm fetch` gets"

COPIES = {name: one.copy for name, one in datasets().items() if one.copy}
READABLE = tuple(name for name, copy in COPIES.items() if copy.columns)
# Modules that name what of the official files a copy can give, and make it.
COMPLETED: Mapping[str, ModuleType] = {"pope": pope, "scienceqa": scienceqa, "textvqa": textvqa}


def has_parquet(name: str, folder: Path) -> bool:
    """Return whether a folder holds a benchmark's parquet files, and they can be read."""
    return name in READABLE and bool(_files(name, folder))


def about_parquet(name: str, folder: Path) -> str:
    """Return what to say of parquet files in a folder, "" where there are none."""
    if name not in COPIES or not folder.is_dir() or not any(folder.rglob("*.parquet")):
        return ""
    copy = COPIES[name]
    if not copy.columns:
        return f"{folder} holds parquet files of the hub ({copy.id}), which are not read: " + (
            copy.differs
        )
    return (
        f"{folder} holds parquet files, but none of {copy.id}, {copy.config}, {copy.split}: "
        f"`sparsevlm fetch {name}` gets them"
    )


def can_complete(name: str, folder: Path, layout: Layout) -> bool:
    """Return whether all official files are there but those that the copy gives."""
    return name in COMPLETED and all(
        (folder / file).exists() for file in layout.files if file not in COMPLETED[name].FROM_COPY
    )


def complete_from_copy(name: str, folder: Path) -> list[Path]:
    """Write the official files that a folder lacks and its copy has, and return them.

    Each is there whole or not at all: a folder gets its name when all its pictures are written.

    Raises
    ------
    DataError
        The copy is damaged, or does not fit the official questions.
    CheckpointError
        The files cannot be written.
    """
    module = COMPLETED[name]
    with FileLock(folder / "complete.lock"):
        made = [file for file in module.FROM_COPY if not (folder / file).exists()]
        columns = dict.fromkeys(column for file in made for column in module.FROM_COPY[file])
        table = read_rows(_files(name, folder), tuple(columns))
        rows = ({**row, "image": _bytes(row["image"])} for row in table)
        written = set()
        for file, content in module.from_copy(rows, folder) if made else ():
            if not content:
                raise DataError(f"{COPIES[name].id} in {folder} has no picture for {file}; {AGAIN}")
            if ".." in PurePosixPath(file).parts:
                raise DataError(f"{COPIES[name].id} in {folder} names a picture {file!r}; {AGAIN}")
            whole = next((one for one in made if file == one or file.startswith(f"{one}/")), None)
            if whole and file not in written:
                write_file(folder / f"{whole}.partial{file.removeprefix(whole)}", content)
                written.add(file)
        for one in made:
            (folder / f"{one}.partial").rename(folder / one)
        return [folder / one for one in made]


def _bytes(picture: Mapping | None) -> bytes | None:
    if not isinstance(picture, Mapping | None):
        raise DataError(
            f"a picture must be a structure of bytes and path, got a {type(picture).__name__}; "
            f"{AGAIN}"
        )
    return (picture or {}).get("bytes")


def layout_of_copy(name: str) -> Layout:
    """Return the counts that the copy of a benchmark must have."""
    copy = COPIES[name]
    owner = f"{copy.id} on the hub"
    return Layout(folder="", files={}, rows=copy.rows, splits=copy.splits, owner=owner)


def _files(name: str, folder: Path) -> list[Path]:
    copy = COPIES[name]
    return files_of(folder, copy.config, copy.split)


def read_copy(name: str, folder: Path) -> list[Sample]:
    """Return the samples of a benchmark (`READABLE`) in the order of its parquet files.

    Their questions, answers and groups are those of the official files. Different are the names of
    POPE's, ScienceQA's and TextVQA's samples and the order; MMVet's abilities stay as the copy
    orders them.

    Raises
    ------
    DataError
        Files are missing or damaged, a column is not there, or an image has no bytes.
    """
    copy, seen = COPIES[name], Counter()
    module = import_module(f"{__package__}.{name}")
    apart = _pictures_apart(name, folder) if copy.pictures else {}
    samples = []
    for row in read_rows(_files(name, folder), copy.columns):
        own = str(row[copy.key]) if copy.key else ""
        if name in WITHOUT_PICTURES and not _bytes(row["image"]):
            media = ""
        elif not copy.pictures:
            media = _write(row["image"], folder, own)
        elif (image := row[copy.pictures[1]]) in apart:
            media = apart[image]
        else:
            raise DataError(f"{copy.pictures[0]} in {folder} has no picture {image!r}")
        samples.append(module.copy_sample(row, media, seen[own]))
        seen[own] += 1
    return module.together(samples) if name == "mmbench" else samples


def _pictures_apart(name: str, folder: Path) -> dict[str, str]:
    copy = COPIES[name]
    config = copy.pictures[0]
    files = files_of(folder / config, config, copy.split)
    if not files:
        raise DataError(f"no pictures in {folder / config}; download {config} of {copy.id}")
    rows = read_rows(files, ("id", "image"))
    return {row["id"]: _write(row["image"], folder, row["id"]) for row in rows}


def _write(picture: dict | None, folder: Path, name: str) -> str:
    if not (content := _bytes(picture)):
        raise DataError(f"{name!r} in {folder} has no picture in it; {AGAIN}")
    return write_picture(content, folder, PICTURES)


def _pyarrow():
    if find_spec("pyarrow") is None:
        raise DataError(
            "parquet files are read with the package pyarrow: pip install 'sparsevlm-repro[a100]'"
        )
    import_module("pyarrow.parquet")
    return import_module("pyarrow")


def files_of(folder: Path, config: str, split: str) -> list[Path]:
    """Return the parquet files of a split, in order; none where there are none.

    The folder is as it is on the hub: CONFIG/SPLIT-*.parquet, or data/SPLIT-*.parquet where there
    is one configuration.

    Raises
    ------
    DataError
        Some are missing: their names say of how many they are.
    """
    for place in (folder / config, folder / "data", folder):
        if found := sorted(place.glob(f"{split}-*.parquet")):
            # test-00000-of-00003.parquet, with or without a digest behind it.
            wanted = {path.stem.split("-of-")[-1].split("-")[0] for path in found}
            if wanted != {f"{len(found):05d}"}:
                raise DataError(
                    f"{place} has {len(found)} files like {found[0].name}; a whole split has "
                    f"{', '.join(sorted(wanted))}. Download the others"
                )
            return found
    return []


def read_rows(files: Sequence[Path], columns: Sequence[str]) -> Iterator[dict]:
    """Yield some columns of the rows of parquet files, one group of rows in memory at a time.

    Raises
    ------
    DataError
        A file is damaged, or lacks a column.
    """
    arrow = _pyarrow()
    for path in files:
        try:
            with arrow.parquet.ParquetFile(path) as table:
                if lacking := [c for c in columns if c not in table.schema_arrow.names]:
                    has = ", ".join(table.schema_arrow.names)
                    raise DataError(
                        f"{path} has no column {', '.join(lacking)}; it has {has}. "
                        "Take the table that `sparsevlm fetch` gets"
                    )
                for batch in table.iter_batches(batch_size=64, columns=list(columns)):
                    yield from batch.to_pylist()
        except (arrow.ArrowInvalid, OSError) as error:
            raise DataError(f"{path} cannot be read ({error}); download it again") from error
