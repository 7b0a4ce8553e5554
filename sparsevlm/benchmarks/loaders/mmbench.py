"""MMBench (English, dev, version 20230712): a table with the images inside, one row per rotation.

A question of four options has four rows: `index`, then `index` + 1,000,000 and so on, the options
moved on by one each time; 53 questions have three, and their last option stays where it is. LLaVA's
script asks every row once, and so does this loader.
"""

from __future__ import annotations

import base64
import binascii
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from sparsevlm.benchmarks.loaders import layout
from sparsevlm.benchmarks.mmbench import ROTATION
from sparsevlm.benchmarks.sample import Sample

TABLE = "mmbench_dev_20230712.tsv"
IMAGES = "images"  # written by this loader, from the table
LETTERS = ("A", "B", "C", "D")
KEYS = ("index", "question", "hint", *LETTERS, "answer", "category", "image")
# What pandas reads as "no value", and LLaVA's script with it; so an option "None" ends the options.
EMPTY = frozenset(
    ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"]
    + ["<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
)


def read(folder: Path) -> list[Sample]:
    """Return the rows, those of a question together and the original order of options first.

    The images are written to `images/` beside the table, once; `split` is the category.

    Raises
    ------
    DataError
        A row is incomplete, or an image is no base64.
    OSError
        The images cannot be written.
    """
    rows = read_table(folder / TABLE)
    return together([copy_sample(row, _picture(row, folder)) for row in rows])


def together(samples: Sequence[Sample]) -> list[Sample]:
    """Return samples with the rotations of a question together, the original order first."""
    first: dict[str, int] = {}
    for place, sample in enumerate(samples):
        first.setdefault(sample.group, place)
    return sorted(samples, key=lambda sample: (first[sample.group], int(sample.id)))


def read_table(path: Path) -> list[dict]:
    """Return the rows of the table as text, in the order of the file.

    Raises
    ------
    DataError
        A column or a value is missing, or an index is no number.
    """
    csv.field_size_limit(sys.maxsize)  # an image is one field
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for number, row in enumerate(rows, start=1):
        layout.require_keys(row, KEYS, f"row {number} of {path}")
        if lacking := [key for key in ("question", "answer", "image") if not row[key]]:
            raise layout.DataError(f"row {number} of {path} has no {', '.join(lacking)}")
        if not row["index"].isdecimal():
            raise layout.DataError(
                f"row {number} of {path} must have a number as index: {row['index']!r}"
            )
    return rows


def _is_empty(value: str | None) -> bool:
    """Return True for what LLaVA's script takes as no value."""
    return value is None or value in EMPTY or value.lower() in ("nan", "none")


def copy_sample(row: dict, media: str, before: int = 0) -> Sample:
    """Return the sample of a row, of the table or of its copy on the hub, and its picture."""
    options = []
    for letter in LETTERS:
        if _is_empty(row[letter]):
            break
        options.append(row[letter])
    lines = [] if _is_empty(row["hint"]) else [row["hint"]]
    lines += [row["question"]]
    lines += [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return Sample(
        id=str(row["index"]),
        media=media,
        question="\n".join([*lines, layout.LETTER_ANSWER]),
        answer=layout.require_one_of(row["answer"], LETTERS, f"row {row['index']} of {TABLE}"),
        group=str(int(row["index"]) % ROTATION),
        split=row["category"],
        options=tuple(options),
    )


def _picture(row: dict, folder: Path) -> str:
    """Return where the row's image is; rotations share one file."""
    try:
        content = base64.b64decode(row["image"], validate=True)
    except binascii.Error as error:
        raise layout.DataError(
            f"the picture of row {row['index']} of {TABLE} is no base64"
        ) from error
    return layout.write_picture(content, folder, IMAGES)
