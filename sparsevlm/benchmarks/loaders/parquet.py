"""Benchmarks from a folder of parquet files, as the lmms-lab organisation keeps them on the hub.

Read are those whose copy has all that the official prompt needs. The pictures are written beside
the tables, once and with their own bytes, so that everything after loading sees the official way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sparsevlm.benchmarks.loaders.hub import HUB
from sparsevlm.benchmarks.loaders.layout import (
    SHORT_ANSWER,
    DataError,
    Layout,
    write_picture,
)
from sparsevlm.benchmarks.loaders.mme import YES_OR_NO
from sparsevlm.benchmarks.loaders.mmvet import BOTH
from sparsevlm.benchmarks.loaders.parquet_table import files_of, read_rows
from sparsevlm.benchmarks.loaders.textvqa import OCR_LINE
from sparsevlm.benchmarks.mmvet import AND_ABILITY
from sparsevlm.benchmarks.sample import Sample

PICTURES = "pictures"  # folder that the pictures are written to

Make = Callable[[dict, str, int], Sample]  # row, picture, how many rows had its name before


@dataclass(frozen=True)
class HubTable:
    """How a copy on the hub is read.

    Attributes
    ----------
    columns : tuple of str
        What is used of it.
    make : callable
        One row to a sample.
    name : callable
        A row's own name; equal ones are numbered.
    rows, splits
        As in `Layout`: those of the copy, which may differ from the official ones.
    pictures : tuple of str
        Configuration that has the pictures apart and the column that names them; () where a
        picture is in its row.
    """

    columns: tuple[str, ...]
    make: Make
    name: Callable[[dict], str]
    rows: int
    splits: Mapping[str, int] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()


def _pope(row: dict, media: str, before: int) -> Sample:
    return Sample(
        id=_pope_name(row), media=media, question=_short(row["question"]),
        answer=row["answer"].strip().lower(), split=row["category"],
    )  # fmt: skip


def _pope_name(row: dict) -> str:
    # Counted within a split by some versions of the copy.
    return f"{row['category']}.{row['question_id']}"


def _gqa(row: dict, media: str, before: int) -> Sample:
    return Sample(
        id=str(row["id"]), media=media, question=_short(row["question"]), answer=row["answer"]
    )


def _mme(row: dict, media: str, before: int) -> Sample:
    question = row["question"].replace(YES_OR_NO, "").strip()
    image = row["question_id"]
    return Sample(
        id=f"{image}#{before}", media=media, question=_short(question), answer=row["answer"],
        group=image, split=row["category"],
    )  # fmt: skip


def _textvqa(row: dict, media: str, before: int) -> Sample:
    tokens = OCR_LINE + ", ".join(row["ocr_tokens"])
    return Sample(
        id=str(row["question_id"]), media=media,
        question="\n".join([row["question"].strip(), tokens, SHORT_ANSWER]),
        answer=Counter(row["answers"]).most_common(1)[0][0], answers=tuple(row["answers"]),
    )  # fmt: skip


def _mmvet(row: dict, media: str, before: int) -> Sample:
    abilities = row["capability"]
    abilities = abilities.split(",") if isinstance(abilities, str) else abilities
    return Sample(
        id=row["question_id"], media=media, question=row["question"], answer=row["answer"],
        split=AND_ABILITY.join(ability.strip() for ability in abilities),
        answers=tuple(fact.strip() for fact in row["answer"].split(BOTH)),
    )  # fmt: skip


def _short(question: str) -> str:
    return f"{question.strip()}\n{SHORT_ANSWER}"


def _named(column: str) -> Callable[[dict], str]:
    return lambda row: str(row[column])


TABLES: dict[str, HubTable] = {
    "gqa": HubTable(
        ("id", "imageId", "question", "answer"), _gqa, _named("id"), 12578,
        pictures=("testdev_balanced_images", "imageId"),
    ),
    "mme": HubTable(
        ("question_id", "image", "question", "answer", "category"), _mme, _named("question_id"),
        2374,
    ),
    "mmvet": HubTable(
        ("question_id", "image", "question", "answer", "capability"), _mmvet,
        _named("question_id"), 218,
    ),
    "pope": HubTable(
        ("question_id", "question", "answer", "category", "image"), _pope, _pope_name, 9000,
        {"random": 3000, "popular": 3000, "adversarial": 3000},
    ),
    "textvqa": HubTable(
        ("question_id", "image", "question", "answers", "ocr_tokens"), _textvqa,
        _named("question_id"), 5000,
    ),
}  # fmt: skip


def has_parquet(name: str, folder: Path) -> bool:
    """Return whether a folder holds a benchmark's parquet files, and they can be read."""
    return name in TABLES and bool(_files(name, folder))


def layout_of_copy(name: str) -> Layout:
    """Return the counts that the copy of a benchmark must have."""
    table = TABLES[name]
    hint = f"these are the numbers of {HUB[name].id} on the hub"
    return Layout(folder="", files={}, rows=table.rows, splits=table.splits, hint=hint)


def _files(name: str, folder: Path) -> list[Path]:
    copy = HUB[name]
    return files_of(folder, copy.config.split(" + ")[0], copy.split)


def read_copy(name: str, folder: Path) -> list[Sample]:
    """Return the samples of a benchmark in the order of its parquet files.

    Their questions, answers and groups are those of the official files. Different are the names of
    POPE's and TextVQA's samples and the order; GQA's have no `split`, MMVet's abilities stay as
    the copy orders them.

    Parameters
    ----------
    name : str
        A key of `TABLES`.
    folder : Path
        As it is on the hub.

    Raises
    ------
    DataError
        Files are missing or damaged, a column is not there, or a picture has no bytes.
    """
    table, seen = TABLES[name], Counter()
    apart = _pictures_apart(name, folder) if table.pictures else {}
    samples = []
    for row in read_rows(_files(name, folder), table.columns):
        own = table.name(row)
        if not table.pictures:
            media = _write(row["image"], folder, own)
        elif (image := row[table.pictures[1]]) in apart:
            media = apart[image]
        else:
            raise DataError(f"{table.pictures[0]} in {folder} has no picture {image!r}")
        samples.append(table.make(row, media, seen[own]))
        seen[own] += 1
    return samples


def _pictures_apart(name: str, folder: Path) -> dict[str, str]:
    config = TABLES[name].pictures[0]
    files = files_of(folder / config, config, HUB[name].split)
    if not files:
        raise DataError(f"no pictures in {folder / config}; download {config} of {HUB[name].id}")
    return dict(_each_picture(files, folder))


def _each_picture(files: list[Path], folder: Path) -> Iterator[tuple[str, str]]:
    for row in read_rows(files, ("id", "image")):
        yield row["id"], _write(row["image"], folder, row["id"])


def _write(picture: dict | None, folder: Path, name: str) -> str:
    content = (picture or {}).get("bytes")
    if not content:
        raise DataError(f"{name!r} in {folder} has no picture in it; download the table again")
    return write_picture(content, folder, PICTURES)
