"""Tables of parquet files as the Hugging Face hub keeps them, pictures among their columns.

A picture is a structure of its file's bytes and name. What a column is to the package `datasets`
stands in the file's own notes, under "huggingface"; reading here needs pyarrow alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from sparsevlm.benchmarks.loaders.layout import DataError

NOTES = b"huggingface"
PICTURE = {"_type": "Image"}


def _pyarrow():
    if find_spec("pyarrow") is None:
        raise DataError(
            "parquet files are read with the package pyarrow: pip install 'sparsevlm-repro[hub]'"
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
                    raise DataError(f"{path} has no column {', '.join(lacking)}; it has {has}")
                for batch in table.iter_batches(batch_size=64, columns=list(columns)):
                    yield from batch.to_pylist()
        except (arrow.ArrowInvalid, OSError) as error:
            raise DataError(f"{path} cannot be read ({error}); download it again") from error


def write_rows(path: Path, rows: Sequence[dict], pictures: Sequence[str] = ()) -> None:
    """Write rows as one parquet file of the hub's kind; for rehearsals.

    Parameters
    ----------
    path : Path
        The file.
    rows : sequence of dict
        With the same keys; a picture is {"bytes": of its file, "path": its name}. `datasets` takes
        it for one only if both are there, the name a text.
    pictures : sequence of str
        Columns that are pictures, or lists of them.
    """
    arrow = _pyarrow()
    table = arrow.Table.from_pylist(list(rows))
    features = {
        field.name: _feature(arrow, field.type, field.name in pictures) for field in table.schema
    }
    notes = {NOTES: json.dumps({"info": {"features": features}}).encode()}
    path.parent.mkdir(parents=True, exist_ok=True)
    arrow.parquet.write_table(table.replace_schema_metadata(notes), path)


def _feature(arrow, kind, is_picture: bool) -> dict:
    """A column's type in the words of the package `datasets`."""
    if arrow.types.is_list(kind):
        return {"feature": _feature(arrow, kind.value_type, is_picture), "_type": "List"}
    if is_picture:
        return PICTURE
    if arrow.types.is_struct(kind):
        return {field.name: _feature(arrow, field.type, False) for field in kind}
    return {"dtype": str(kind), "_type": "Value"}
