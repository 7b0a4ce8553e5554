"""Benchmarks from a folder of parquet files, as the lmms-lab organisation keeps them on the hub.

Five of the eight are read: those whose copy has all that the official prompt needs. Of the others
the table says how they differ, for whoever compares with results made from the hub. The images
are written beside the tables, once and with their own bytes, so that everything after loading sees
the official way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

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

PICTURES = "pictures"  # folder that the images are written to

Make = Callable[[dict, str, int], Sample]  # row, image, how many rows had its name before


@dataclass(frozen=True)
class HubCopy:
    """A copy of a benchmark on the hub, and how it is read.

    Attributes
    ----------
    id : str
        Of the data set since the move of 30 July 2026; lmms-lab/NAME, its name before, redirects.
    config, split : str
        As `datasets.load_dataset` takes them.
    licence : str
        As far as known; the terms on the source's own page hold.
    differs : str
        From what LLaVA's scripts read; "" where no difference is known.
    columns : tuple of str
        What is used of it; () for a copy that is not read, for the reason under `differs`.
    make : (row, image, how many rows had its name before) -> Sample
    name : (row) -> str
        A row's own name; equal ones are numbered.
    rows, splits
        As in `Layout`: those of the copy, which may differ from the official ones.
    pictures : tuple of str
        Configuration that has the images apart and the column that names them; () where
        an image is in its row.
    """

    id: str
    config: str
    split: str
    licence: str
    differs: str = ""
    columns: tuple[str, ...] = ()
    make: Make | None = None
    name: Callable[[dict], str] = lambda row: str(row["question_id"])
    rows: int = 0
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


# No revision could be checked from here; pin what you download.
COPIES = {
    "gqa": HubCopy(
        "lmms-lab-encoder/GQA", "testdev_balanced_instructions", "testdev",
        "CC BY 4.0; images of Visual Genome",
        columns=("id", "imageId", "question", "answer"), make=_gqa, name=lambda row: str(row["id"]),
        rows=12578, pictures=("testdev_balanced_images", "imageId"),
    ),
    "mmbench": HubCopy(
        "lmms-lab-encoder/MMBench", "en", "dev", "Apache-2.0 (repository)",
        "another version of the table, with other rows than mmbench_dev_20230712.tsv",
    ),
    "mme": HubCopy(
        "lmms-lab-encoder/MME", "default", "test", "academic research only",
        columns=("question_id", "image", "question", "answer", "category"), make=_mme, rows=2374,
    ),
    "pope": HubCopy(
        "lmms-lab-encoder/POPE", "default", "test",
        "MIT (questions); COCO images under Flickr's terms",
        "9,000 rows: 3,000 random ones where LLaVA has 2,910",
        columns=("question_id", "question", "answer", "category", "image"), make=_pope,
        name=_pope_name, rows=9000,
        splits={"random": 3000, "popular": 3000, "adversarial": 3000},
    ),
    "scienceqa": HubCopy(
        "lmms-lab-encoder/ScienceQA", "ScienceQA-IMG", "test", "CC BY-NC-SA 4.0",
        "only the questions with an image; the total needs the others too",
    ),
    "seed": HubCopy(
        "lmms-lab-encoder/SEED-Bench", "default", "test", "CC BY-NC 4.0",
        "fewer videos than LLaVA's questions, and eight frames of each in place of the middle one",
    ),
    "textvqa": HubCopy(
        "lmms-lab-encoder/textvqa", "default", "validation", "CC BY 4.0; images of Open Images",
        "OCR tokens are in a column; lmms-eval leaves them out of the prompt by default",
        columns=("question_id", "image", "question", "answers", "ocr_tokens"), make=_textvqa,
        rows=5000,
    ),
    "mmvet": HubCopy(
        "lmms-lab-encoder/MMVet", "default", "test", "non-commercial research and education only",
        columns=("question_id", "image", "question", "answer", "capability"), make=_mmvet, rows=218,
    ),
}  # fmt: skip
READABLE = tuple(name for name, copy in COPIES.items() if copy.columns)


def has_parquet(name: str, folder: Path) -> bool:
    """Return whether a folder holds a benchmark's parquet files, and they can be read."""
    return name in READABLE and bool(_files(name, folder))


def about_parquet(name: str, folder: Path) -> str:
    """Return what to say of parquet files in a folder, "" where there are none."""
    if name not in COPIES or not folder.is_dir() or not any(folder.rglob("*.parquet")):
        return ""
    copy = COPIES[name]
    why = copy.differs or f"files of {copy.split} are not among them"
    return f"{folder} holds parquet files of the hub ({copy.id}), which are not read: {why}"


def layout_of_copy(name: str) -> Layout:
    """Return the counts that the copy of a benchmark must have."""
    copy = COPIES[name]
    hint = f"these are the numbers of {copy.id} on the hub"
    return Layout(folder="", files={}, rows=copy.rows, splits=copy.splits, hint=hint)


def _files(name: str, folder: Path) -> list[Path]:
    copy = COPIES[name]
    return files_of(folder, copy.config, copy.split)


def read_copy(name: str, folder: Path) -> list[Sample]:
    """Return the samples of a benchmark in the order of its parquet files.

    Their questions, answers and groups are those of the official files. Different are the names of
    POPE's and TextVQA's samples and the order; GQA's have no `split`, MMVet's abilities stay as
    the copy orders them.

    Parameters
    ----------
    name : str
        Of `READABLE`.
    folder : Path
        As it is on the hub.

    Raises
    ------
    DataError
        Files are missing or damaged, a column is not there, or an image has no bytes.
    """
    copy, seen = COPIES[name], Counter()
    apart = _pictures_apart(name, folder) if copy.pictures else {}
    samples = []
    for row in read_rows(_files(name, folder), copy.columns):
        own = copy.name(row)
        if not copy.pictures:
            media = _write(row["image"], folder, own)
        elif (image := row[copy.pictures[1]]) in apart:
            media = apart[image]
        else:
            raise DataError(f"{copy.pictures[0]} in {folder} has no picture {image!r}")
        samples.append(copy.make(row, media, seen[own]))
        seen[own] += 1
    return samples


def _pictures_apart(name: str, folder: Path) -> dict[str, str]:
    copy = COPIES[name]
    config = copy.pictures[0]
    files = files_of(folder / config, config, copy.split)
    if not files:
        raise DataError(f"no pictures in {folder / config}; download {config} of {copy.id}")
    return dict(_each_picture(files, folder))


def _each_picture(files: list[Path], folder: Path) -> Iterator[tuple[str, str]]:
    for row in read_rows(files, ("id", "image")):
        yield row["id"], _write(row["image"], folder, row["id"])


def _write(picture: dict | None, folder: Path, name: str) -> str:
    content = (picture or {}).get("bytes")
    if not content:
        raise DataError(f"{name!r} in {folder} has no picture in it; download the table again")
    return write_picture(content, folder, PICTURES)
