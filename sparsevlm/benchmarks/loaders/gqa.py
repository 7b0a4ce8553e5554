"""GQA, testdev balanced: 12,578 questions about 398 images."""

from __future__ import annotations

from pathlib import Path

from sparsevlm.benchmarks.loaders import layout
from sparsevlm.benchmarks.sample import Sample

QUESTIONS = "llava_gqa_testdev_balanced.jsonl"
ANSWERS = "data/testdev_balanced_questions.json"
IMAGES = "data/images"


def read(folder: Path) -> list[Sample]:
    """Return the questions in the order of LLaVA's file; `split` is GQA's structural type.

    Raises
    ------
    DataError
        A question has no answer.
    """
    answers = layout.read_json(folder / ANSWERS)
    rows = layout.read_jsonl(folder / QUESTIONS)
    return [_sample(row, answers) for row in rows]


def _sample(row: dict, answers: dict) -> Sample:
    name = str(row["question_id"])
    if name not in answers:
        raise layout.DataError(f"{ANSWERS} has no question {name!r}, which {QUESTIONS} asks")
    known = layout.require_keys(answers[name], ("answer",), f"{name!r} in {ANSWERS}")
    return Sample(
        id=name,
        media=f"{IMAGES}/{row['image']}",
        question=row["text"],
        answer=known["answer"],
        split=known.get("types", {}).get("structural", ""),
    )


def copy_sample(row: dict, media: str, before: int) -> Sample:
    """Return the sample of a row of the hub's copy."""
    return Sample(
        id=str(row["id"]),
        media=media,
        question=f"{row['question'].strip()}\n{layout.SHORT_ANSWER}",
        answer=row["answer"],
        split=row["types"]["structural"],
    )
