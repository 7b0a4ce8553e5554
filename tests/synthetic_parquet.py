"""Tiny parquet copies of the synthetic fixtures, with the columns that the hub's copies have."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from zlib import crc32

import pytest
from synthetic import write_synthetic
from synthetic_videoqa import Change, unchanged

from sparsevlm.benchmarks.loaders import mmbench, scienceqa
from sparsevlm.benchmarks.loaders.loading import load
from sparsevlm.benchmarks.loaders.mme import YES_OR_NO
from sparsevlm.benchmarks.loaders.mmvet import BOTH
from sparsevlm.benchmarks.loaders.parquet import COPIES
from sparsevlm.benchmarks.loaders.textvqa import OCR_LINE
from sparsevlm.benchmarks.mmvet import AND_ABILITY
from sparsevlm.benchmarks.sample import Sample

NOTES = b"huggingface"
PICTURE = {"_type": "Image"}


def write_synthetic_parquet(
    name: str, official: Path, folder: Path, *, n: int = 24, seed: int = 0, parts: int = 1,
    change: Change = unchanged,
) -> Path:  # fmt: skip
    """Write drawn data in the official layout, and a parquet copy of the same; return the copy.

    Parameters
    ----------
    name : str
        A key of `WRITERS`.
    official, folder : Path
        For the official layout, and for the copy.
    n, seed, change
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
    samples = load(name, write_synthetic(name, official, n, seed, change), complete=False)
    copy = COPIES[name]
    rows = [WRITERS[name](sample, official) for sample in samples]
    place = folder / (copy.config if copy.config != "default" else "data")
    if not copy.pictures:
        rows = [{**row, "image": _file(official, s)} for row, s in zip(rows, samples, strict=True)]
        _write(place, copy.split, rows, parts, TYPES[name])
        return folder
    _write(place, copy.split, rows, parts, TYPES[name])
    apart = {Path(s.media).stem: _file(official, s) for s in samples}
    pictures = [{"id": key, "image": file} for key, file in apart.items()]
    _write(folder / copy.pictures[0], copy.split, pictures, parts, {})
    return folder


def _write(place: Path, split: str, rows: Sequence[dict], parts: int, types: dict) -> None:
    size = -(-len(rows) // parts)
    for part in range(parts):
        some = rows[part * size : (part + 1) * size]
        write_rows(place / f"{split}-{part:05d}-of-{parts:05d}.parquet", some, ["image"], types)


def _file(official: Path, sample: Sample) -> dict | None:
    """A picture as the hub has it, mostly without a name; None for a question without one."""
    return {"bytes": (official / sample.media).read_bytes(), "path": None} if sample.media else None


def _first_line(sample: Sample) -> str:
    return sample.question.split("\n")[0]


def _gqa(sample: Sample, official: Path) -> dict:
    row = {"id": sample.id, "imageId": Path(sample.media).stem, "question": _first_line(sample)}
    row |= {"answer": sample.answer, "fullAnswer": f"It is {sample.answer}.", "isBalanced": True}
    row |= {"types": {"detailed": "d", "semantic": "attr", "structural": sample.split}}
    return row | {"groups": {"global": None, "local": "x"}, "semantic": [{"operation": "select"}]}


def _mme(sample: Sample, official: Path) -> dict:
    question = f"{_first_line(sample)} {YES_OR_NO}"
    row = {"question_id": sample.group, "question": question, "answer": sample.answer}
    return row | {"category": sample.split}


def _mmvet(sample: Sample, official: Path) -> dict:
    row = {
        "question_id": sample.id,
        "question": sample.question,
        "answer": BOTH.join(sample.answers),
    }
    row |= {"image_source": Path(sample.media).name}
    return row | {"capability": ",".join(sample.split.split(AND_ABILITY))}


def _pope(sample: Sample, official: Path) -> dict:
    row = {"id": sample.id, "question_id": sample.id, "question": _first_line(sample)}
    row |= {"answer": sample.answer, "image_source": Path(sample.media).stem}
    return row | {"category": sample.split}


def _textvqa(sample: Sample, official: Path) -> dict:
    tokens = sample.question.split("\n")[1].removeprefix(OCR_LINE)
    row = {"question_id": crc32(sample.id.encode()) >> 1, "question": _first_line(sample)}
    row |= {"ocr_tokens": tokens.split(", ") if tokens else []}
    return row | {"answers": list(sample.answers), "image_id": Path(sample.media).stem}


def _mmbench(sample: Sample, official: Path) -> dict:
    (row,) = (r for r in mmbench.read_table(official / mmbench.TABLE) if r["index"] == sample.id)
    empty = {key: None for key in ("hint", *mmbench.LETTERS) if not row[key]}
    return {**row, **empty, "index": int(row["index"])}


def _scienceqa(sample: Sample, official: Path) -> dict:
    problem = json.loads((official / scienceqa.PROBLEMS).read_text(encoding="utf-8"))[sample.id]
    return {**problem, "task": "closed choice", "solution": ""}


WRITERS: dict[str, Callable[[Sample, Path], dict]] = {
    "gqa": _gqa,
    "mmbench": _mmbench,
    "mme": _mme,
    "mmvet": _mmvet,
    "pope": _pope,
    "scienceqa": _scienceqa,
    "textvqa": _textvqa,
}
# Types of the copies' columns where they are not what the values suggest.
TYPES: dict[str, dict[str, str]] = {
    "gqa": {}, "mmbench": {"index": "int64", "hint": "string", "C": "string", "D": "string"},
    "mme": {}, "mmvet": {}, "pope": {}, "scienceqa": {"answer": "int8"},
    "textvqa": {"question_id": "int32"},
}  # fmt: skip


def write_rows(
    path: Path,
    rows: Sequence[dict],
    pictures: Sequence[str] = (),
    types: Mapping[str, str] | None = None,
) -> None:
    """Write rows as one parquet file of the hub's kind.

    What a column is to the package `datasets` stands in the file's own notes, under "huggingface".

    Parameters
    ----------
    path : Path
        The file.
    rows : sequence of dict
        With the same keys; a picture is {"bytes": of its file, "path": its name, or None}, or None.
    pictures : sequence of str
        Columns that are pictures, or lists of them.
    types : mapping of str to str
        Names of columns' types where they are not what the values suggest.
    """
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.Table.from_pylist(list(rows))
    picture = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    known = dict.fromkeys(pictures, picture) | {
        name: arrow.type_for_alias(kind) for name, kind in (types or {}).items()
    }
    for place, field in enumerate(table.schema):
        if field.name in known and not arrow.types.is_list(field.type):
            column = table.column(place).to_pylist()
            column = arrow.array(column, type=known[field.name])
            table = table.set_column(place, field.name, column)
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
