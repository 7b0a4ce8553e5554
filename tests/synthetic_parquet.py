"""Tiny parquet copies of the synthetic fixtures, with the columns that the hub's copies have."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from synthetic import write_synthetic

from sparsevlm.benchmarks.loaders.loading import load
from sparsevlm.benchmarks.loaders.mme import YES_OR_NO
from sparsevlm.benchmarks.loaders.parquet import COPIES
from sparsevlm.benchmarks.loaders.textvqa import OCR_LINE
from sparsevlm.benchmarks.mmvet import AND_ABILITY
from sparsevlm.benchmarks.sample import Sample

NOTES = b"huggingface"
PICTURE = {"_type": "Image"}


def write_synthetic_parquet(
    name: str, official: Path, folder: Path, *, n: int = 24, seed: int = 0, parts: int = 1
) -> Path:
    """Write drawn data in the official layout, and a parquet copy of the same; return the copy.

    Parameters
    ----------
    name : str
        A key of `WRITERS`.
    official, folder : Path
        For the official layout, and for the copy.
    n, seed : int
        See `synthetic.write_synthetic`.
    parts : int
        Files that the copy's table is cut into.

    Raises
    ------
    ValueError
        There are no such fixtures.
    """
    if name not in WRITERS:
        raise ValueError(f"no parquet fixtures for {name!r}; known: {', '.join(WRITERS)}")
    samples = load(name, write_synthetic(name, official, n, seed), complete=False)
    copy = COPIES[name]
    rows = [WRITERS[name](sample) for sample in samples]
    if not copy.pictures:
        pictures = [
            {**row, "image": _file(official, s)} for row, s in zip(rows, samples, strict=True)
        ]
        _write(folder / "data", copy.split, pictures, parts)
        return folder
    _write(folder / copy.config, copy.split, rows, parts)
    apart = {Path(s.media).stem: _file(official, s) for s in samples}
    pictures = [{"id": key, "image": file} for key, file in apart.items()]
    _write(folder / copy.pictures[0], copy.split, pictures, parts)
    return folder


def _write(place: Path, split: str, rows: Sequence[dict], parts: int) -> None:
    size = -(-len(rows) // parts)
    for part in range(parts):
        some = rows[part * size : (part + 1) * size]
        write_rows(place / f"{split}-{part:05d}-of-{parts:05d}.parquet", some, ["image"])


def _file(official: Path, sample: Sample) -> dict:
    path = official / sample.media
    return {"bytes": path.read_bytes(), "path": path.name}


def _first_line(sample: Sample) -> str:
    return sample.question.split("\n")[0]


def _gqa(sample: Sample) -> dict:
    row = {"id": sample.id, "imageId": Path(sample.media).stem, "question": _first_line(sample)}
    return row | {"answer": sample.answer}


def _mme(sample: Sample) -> dict:
    question = f"{_first_line(sample)} {YES_OR_NO}"
    row = {"question_id": sample.group, "question": question, "answer": sample.answer}
    return row | {"category": sample.split}


def _mmvet(sample: Sample) -> dict:
    row = {"question_id": sample.id, "question": sample.question, "answer": sample.answer}
    return row | {"capability": ",".join(sample.split.split(AND_ABILITY))}


def _pope(sample: Sample) -> dict:
    row = {"id": sample.id, "question_id": sample.id, "question": _first_line(sample)}
    row |= {"answer": sample.answer, "image_source": Path(sample.media).stem}
    return row | {"category": sample.split}


def _textvqa(sample: Sample) -> dict:
    tokens = sample.question.split("\n")[1].removeprefix(OCR_LINE)
    row = {"question_id": sample.id, "question": _first_line(sample)}
    row |= {"ocr_tokens": tokens.split(", ") if tokens else []}
    return row | {"answers": list(sample.answers)}


WRITERS: dict[str, Callable[[Sample], dict]] = {
    "gqa": _gqa,
    "mme": _mme,
    "mmvet": _mmvet,
    "pope": _pope,
    "textvqa": _textvqa,
}


def write_rows(path: Path, rows: Sequence[dict], pictures: Sequence[str] = ()) -> None:
    """Write rows as one parquet file of the hub's kind.

    What a column is to the package `datasets` stands in the file's own notes, under "huggingface".

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
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.Table.from_pylist(list(rows))
    features = {
        field.name: _feature(arrow, field.type, field.name in pictures) for field in table.schema
    }
    notes = {NOTES: json.dumps({"info": {"features": features}}).encode()}
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table.replace_schema_metadata(notes), path)


def _feature(arrow, kind, is_picture: bool) -> dict:
    """A column's type in the words of the package `datasets`."""
    if arrow.types.is_list(kind):
        return {"feature": _feature(arrow, kind.value_type, is_picture), "_type": "List"}
    if is_picture:
        return PICTURE
    if arrow.types.is_struct(kind):
        return {field.name: _feature(arrow, field.type, False) for field in kind}
    return {"dtype": str(kind), "_type": "Value"}
