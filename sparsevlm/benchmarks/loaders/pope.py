"""POPE on COCO val2014: three files of yes/no questions, as of POPE commit e3e3926.

The random file of that commit has 2,910 rows; later ones have 3,000, and then labels and LLaVA's
questions no longer belong together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from sparsevlm.benchmarks.loaders.layout import ASKED, SHORT_ANSWER, DataError, read_jsonl
from sparsevlm.benchmarks.pope import SPLITS
from sparsevlm.benchmarks.sample import Sample

COMMIT = "e3e39262c85a6a83f26cf5094022a782cb0df58d"
QUESTIONS = "llava_pope_test.jsonl"
LABELS = {split: f"coco/coco_pope_{split}.json" for split in SPLITS}
IMAGES = "val2014"
FROM_COPY = {IMAGES: ("image", "image_source")}  # what `from_copy` makes, and its columns
SOURCE = f"output/coco of AoiDragon/POPE at commit {COMMIT}"


def read(folder: Path) -> list[Sample]:
    """Return the questions in the order of LLaVA's file, each with the label of its split's file.

    Raises
    ------
    DataError
        A file of labels is not the one that the questions were made from.

    Source
    ------
    LLaVA `llava/eval/eval_pope.py` pairs answers and labels by their place in the file. Difference:
    number of rows, image and question must agree.
    """
    rows = read_jsonl(folder / QUESTIONS, (*ASKED, "category"))
    labels = {split: _labels(folder, split, rows) for split in SPLITS}
    return [_sample(row, next(labels[_split(row)])) for row in rows]


def _split(row: dict) -> str:
    if row["category"] not in SPLITS:
        raise DataError(f"unknown category {row['category']!r} in {QUESTIONS}; known: {SPLITS}")
    return row["category"]


def _labels(folder: Path, split: str, rows: list[dict]):
    labels = read_jsonl(folder / LABELS[split], ("image", "text", "label"))
    asked = sum(_split(row) == split for row in rows)
    if len(labels) != asked:
        raise DataError(
            f"{folder / LABELS[split]} has {len(labels)} rows, {QUESTIONS} asks {asked} questions "
            f"of that split; take {SOURCE}"
        )
    return iter(labels)


def _sample(row: dict, label: dict) -> Sample:
    question = row["text"].split("\n")[0]
    if (label["image"], label["text"]) != (row["image"], question):
        raise DataError(
            f"question {row['question_id']} of {QUESTIONS} is {question!r} about {row['image']}, "
            f"its label is for {label['text']!r} about {label['image']}; take {SOURCE}"
        )
    return Sample(
        id=str(row["question_id"]),
        media=f"{IMAGES}/{row['image']}",
        question=row["text"],
        answer=label["label"],
        split=row["category"],
    )


def copy_sample(row: dict, media: str, before: int) -> Sample:
    """Return the sample of a row of the hub's copy.

    It is named with its split: some versions of the copy count the questions within one.
    """
    return Sample(
        id=f"{row['category']}.{row['question_id']}",
        media=media,
        question=f"{row['question'].strip()}\n{SHORT_ANSWER}",
        answer=row["answer"].strip().lower(),
        split=row["category"],
    )


def from_copy(rows: Iterable[dict], folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures of the hub's copy under their official names, each as often as asked."""
    for row in rows:
        yield f"{IMAGES}/{row['image_source'].removesuffix('.jpg')}.jpg", row["image"]
