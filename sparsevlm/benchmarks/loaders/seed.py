"""SEED-Bench (version 1): questions about images, and about the middle frame of videos."""

from __future__ import annotations

from pathlib import Path

from sparsevlm.benchmarks.loaders import layout
from sparsevlm.benchmarks.sample import Sample

QUESTIONS = "llava-seed-bench.jsonl"
ANSWERS = "SEED-Bench.json"
IMAGES, FRAMES = "SEED-Bench-image", "SEED-Bench-video-image"
CHOICES = ("choice_a", "choice_b", "choice_c", "choice_d")
LETTERS = ("A", "B", "C", "D")
KEYS = ("question_id", "question_type_id", "data_type", "answer", *CHOICES)


def read(folder: Path) -> list[Sample]:
    """Return the questions in the order of LLaVA's file; `split` is the ability.

    Without the videos' frames, which a folder may lack that says to be a part, those about images.

    Raises
    ------
    DataError
        Questions and answers are of two versions.
    """
    data = layout.require_keys(
        layout.read_json(folder / ANSWERS), ("questions", "question_type"), ANSWERS
    )
    abilities = {number: name for name, number in data["question_type"].items()}
    answers = {}
    for known in data["questions"]:
        layout.require_keys(known, KEYS, f"a question of {ANSWERS}")
        answers[_name(known)] = known
    rows = layout.read_jsonl(folder / QUESTIONS)
    if not (folder / FRAMES).exists():
        rows = [row for row in rows if not str(row["image"]).startswith(f"{FRAMES}/")]
        answers = {name: row for name, row in answers.items() if row["data_type"] == "image"}
    layout.require_same_ids(map(_name, rows), answers, (QUESTIONS, ANSWERS))
    return [_sample(row, answers[_name(row)], abilities) for row in rows]


def _name(row: dict) -> str:
    """Return the question's id; LLaVA's file has numbers where the official one has text."""
    return str(row["question_id"])


def _sample(row: dict, known: dict, abilities: dict[int, str]) -> Sample:
    if known["question_type_id"] not in abilities:
        raise layout.DataError(f"{ANSWERS} has no question_type {known['question_type_id']!r}")
    return Sample(
        id=_name(row),
        media=str(row["image"]),
        question=row["text"],
        answer=layout.require_one_of(known["answer"], LETTERS, f"{_name(row)!r} in {ANSWERS}"),
        split=abilities[known["question_type_id"]],
        options=tuple(str(known[key]) for key in CHOICES),
    )
