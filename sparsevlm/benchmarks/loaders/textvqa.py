"""TextVQA 0.5.1, validation: 5,000 questions, with reference OCR tokens in the prompt."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from sparsevlm.benchmarks.loaders import layout
from sparsevlm.benchmarks.sample import Sample

QUESTIONS = "llava_textvqa_val_v051_ocr.jsonl"
ANSWERS = "TextVQA_0.5.1_val.json"
IMAGES = "train_images"
OCR_LINE = "Reference OCR token: "
# What `from_copy` makes, and the columns that it needs.
FROM_COPY = dict.fromkeys(
    (ANSWERS, IMAGES), ("question_id", "image_id", "question", "answers", "ocr_tokens", "image")
)
log = logging.getLogger(__name__)


def read(folder: Path) -> list[Sample]:
    """Return the questions in the order of LLaVA's file, with all ten human answers.

    Raises
    ------
    DataError
        A question has no answers, or its prompt lacks the line of OCR tokens.
    """
    data = layout.require_keys(layout.read_json(folder / ANSWERS), ("data",), ANSWERS)["data"]
    for known in data:
        layout.require_keys(known, ("image_id", "question", "answers"), f"a question of {ANSWERS}")
    answers = {(known["image_id"], known["question"].lower()): known["answers"] for known in data}
    rows = layout.read_jsonl(folder / QUESTIONS)
    # LLaVA's file has the image's name in place of the question's.
    names = layout.numbered(row["question_id"] for row in rows)
    return [
        _sample(row, f"{image}.{before}", answers)
        for row, (image, before) in zip(rows, names, strict=True)
    ]


def _sample(row: dict, name: str, answers: dict) -> Sample:
    lines = row["text"].split("\n")
    if len(lines) != 3 or not lines[1].startswith(OCR_LINE.rstrip()):
        raise layout.DataError(
            f"the prompt of {name!r} must be the question, {OCR_LINE!r} with tokens, and the "
            f"instruction; got {row['text']!r}; take {QUESTIONS}, not the file without OCR"
        )
    key = (row["question_id"], lines[0].lower())
    if key not in answers:
        raise layout.DataError(f"{ANSWERS} has no answers to {lines[0]!r} about {key[0]!r}")
    return Sample(
        id=name,
        media=f"{IMAGES}/{row['image']}",
        question=row["text"],
        answer=Counter(answers[key]).most_common(1)[0][0],
        answers=tuple(answers[key]),
    )


def copy_sample(row: dict, media: str, before: int) -> Sample:
    """Return the sample of a row of the hub's copy, with the OCR tokens of that copy."""
    tokens = OCR_LINE + ", ".join(row["ocr_tokens"])
    return Sample(
        id=str(row["question_id"]),
        media=media,
        question="\n".join([row["question"].strip(), tokens, layout.SHORT_ANSWER]),
        answer=Counter(row["answers"]).most_common(1)[0][0],
        answers=tuple(row["answers"]),
    )


def from_copy(rows: Iterable[dict], folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield pictures and answers of the hub's copy under their official names.

    The prompts stay those of LLaVA's file; it is said how many have other OCR tokens than the copy.
    """
    prompts = {
        (row["question_id"], lines[0].lower()): lines[1]
        for row in layout.read_jsonl(folder / QUESTIONS)
        if len(lines := row["text"].split("\n")) == 3
    }
    data, other = [], 0
    for row in rows:
        yield f"{IMAGES}/{row['image_id']}.jpg", row["image"]
        known = {key: row[key] for key in ("question_id", "image_id", "question", "answers")}
        data.append(known)
        asked = prompts.get((row["image_id"], row["question"].strip().lower()), "")
        other += asked.split() != f"{OCR_LINE}{', '.join(row['ocr_tokens'])}".split()
    yield ANSWERS, json.dumps({"dataset_type": "val", "data": data}).encode()
    log.log(
        logging.WARNING if other else logging.INFO,
        "TextVQA: %d of %d prompts of eval.zip have other OCR tokens than the copy on the hub; "
        "those of eval.zip are asked, as LLaVA's script does", other, len(data),
    )  # fmt: skip
