"""MM-Vet (version 1): 218 open questions that need several abilities."""

from __future__ import annotations

from pathlib import Path

from sparsevlm.benchmarks.loaders import layout
from sparsevlm.benchmarks.mmvet import AND_ABILITY
from sparsevlm.benchmarks.sample import Sample

QUESTIONS = "llava-mm-vet.jsonl"
ANSWERS = "mm-vet.json"
IMAGES = "images"
BOTH = "<AND>"  # MM-Vet's mark between facts that must all be there


def read(folder: Path) -> list[Sample]:
    """Return the questions in the order of LLaVA's file; `split` joins the abilities by "+".

    Raises
    ------
    DataError
        Questions and answers are of two versions.
    """
    answers = layout.read_json(folder / ANSWERS)
    rows = layout.read_jsonl(folder / QUESTIONS)
    layout.require_same_ids(map(_name, rows), answers, (QUESTIONS, ANSWERS))
    return [_sample(row, answers[_name(row)]) for row in rows]


def _name(row: dict) -> str:
    return f"v1_{row['question_id']}"


def _sample(row: dict, known: dict) -> Sample:
    layout.require_keys(known, ("answer", "capability"), f"{_name(row)!r} in {ANSWERS}")
    return Sample(
        id=_name(row),
        media=f"{IMAGES}/{row['image']}",
        question=row["text"],
        answer=known["answer"],
        split=AND_ABILITY.join(known["capability"]),
        answers=tuple(fact.strip() for fact in known["answer"].split(BOTH)),
    )


def copy_sample(row: dict, media: str, before: int) -> Sample:
    """Return the sample of a row of the hub's copy, its abilities in the order of the copy."""
    return Sample(
        id=row["question_id"],
        media=media,
        question=row["question"],
        answer=row["answer"],
        split=AND_ABILITY.join(ability.strip() for ability in row["capability"].split(",")),
        answers=tuple(fact.strip() for fact in row["answer"].split(BOTH)),
    )
