"""Tables of parquet files as the Hugging Face hub keeps them, images among their columns.

An image is a structure of its file's bytes and name; reading needs pyarrow alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from sparsevlm.benchmarks.loaders.layout import DataError


def _pyarrow():
    if find_spec("pyarrow") is None:
        raise DataError(
            "parquet files are read with the package pyarrow: pip install 'sparsevlm-repro[a100]'"
        )
    import_module("pyarrow.parquet")
    return import_module("pyarrow")


def files_of(folder: Path, config: str, split: str) -> list[Path]:
    """Return the parquet files of a split, in order.

    Parameters
    ----------
    folder : Path
        Of the data set, as it is on the hub: CONFIG/SPLIT-*.parquet, or data/SPLIT-*.parquet where
        there is one configuration.
    config, split : str
        As on the hub.

    Returns
    -------
    list of Path
        Empty where there are none.

    Raises
    ------
    DataError
        Some are missing: their names say of how many they are.
    """
    for place in (folder / config, folder / "data", folder):
        if found := sorted(place.glob(f"{split}-*.parquet")):
            _require_all(found)
            return found
    return []


def _require_all(found: list[Path]) -> None:
    # test-00000-of-00003.parquet, with or without a digest behind it.
    wanted = {path.stem.split("-of-")[-1].split("-")[0] for path in found}
    if wanted != {f"{len(found):05d}"}:
        raise DataError(
            f"{found[0].parent} has {len(found)} files like {found[0].name}; a whole split has "
            f"{', '.join(sorted(wanted))}. Download the others"
        )


def read_rows(files: Sequence[Path], columns: Sequence[str]) -> Iterator[dict]:
    """Yield the rows of parquet files, one file's group of rows in memory at a time.

    Parameters
    ----------
    files : sequence of Path
        From `files_of`.
    columns : sequence of str
        What is read; the rest stays on the disk.

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
