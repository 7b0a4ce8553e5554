"""ScienceQA, test split: 4,241 questions, 2,017 of them about an image."""

from __future__ import annotations

import string
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from sparsevlm.benchmarks.loaders import layout
from sparsevlm.benchmarks.sample import Sample

QUESTIONS = "llava_test_CQM-A.json"
PROBLEMS = "problems.json"
SPLITS = "pid_splits.json"
IMAGES = "images/test"
# What `from_copy` makes, and the columns that it needs.
FROM_COPY = {IMAGES: ("image", "question", "choices", "answer", "hint")}
SOURCE = "data/scienceqa of lupantech/ScienceQA"


def read(folder: Path) -> list[Sample]:
    """Return the questions in the order of LLaVA's file; `split` is "image" or "text".

    Raises
    ------
    DataError
        The questions are not those of the test split.
    """
    problems, rows = layout.read_json(folder / PROBLEMS), layout.read_json(folder / QUESTIONS)
    for row in rows:
        layout.require_keys(row, ("id", "conversations"), f"a question of {QUESTIONS}")
    test = layout.require_keys(layout.read_json(folder / SPLITS), ("test",), SPLITS)["test"]
    layout.require_same_ids((row["id"] for row in rows), test, (QUESTIONS, f"{SPLITS}, test"))
    return [_sample(row, problems) for row in rows]


def _sample(row: dict, problems: dict) -> Sample:
    name = row["id"]
    if name not in problems:
        raise layout.DataError(f"question {name!r} is not in {PROBLEMS}; take it from {SOURCE}")
    problem = layout.require_keys(problems[name], ("answer", "choices"), f"{name!r} in {PROBLEMS}")
    known = range(len(problem["choices"]))
    answer = layout.require_one_of(problem["answer"], known, f"{name!r} in {PROBLEMS}")
    question = row["conversations"][0]["value"].replace("<image>", "").strip()
    return Sample(
        id=name,
        media=f"{IMAGES}/{row['image']}" if "image" in row else "",
        question=f"{question}\n{layout.LETTER_ANSWER}",
        answer=string.ascii_uppercase[answer],
        split="image" if "image" in row else "text",
        options=problem["choices"],
    )


def from_copy(rows: Iterable[dict], folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures of the hub's copy under their official names.

    The copy has no ids: a row belongs to the test question with the same texts and answer; of
    several, which then differ by their picture alone, the first takes the first.

    Raises
    ------
    DataError
        A row belongs to no question.
    """
    problems, asked = layout.read_json(folder / PROBLEMS), layout.read_json(folder / QUESTIONS)
    pictures = {row["id"]: row["image"] for row in asked if "image" in row}
    open_: dict[tuple, deque] = defaultdict(deque)
    for name in layout.read_json(folder / SPLITS)["test"]:
        open_[_content(problems[name], name in pictures)].append(name)
    for number, row in enumerate(rows):
        names = open_[_content(row, row["image"] is not None)]
        if not names:
            raise layout.DataError(
                f"row {number} of the hub's table in {folder} ({row['question']!r}) is no test "
                f"question of {PROBLEMS}; fetch both again with `sparsevlm fetch scienceqa`"
            )
        name = names.popleft()
        if name in pictures:
            yield f"{IMAGES}/{pictures[name]}", row["image"]


def _content(row: dict, has_picture: bool) -> tuple:
    texts = [row["question"], row["hint"] or "", *row["choices"]]
    return (*(" ".join(text.split()) for text in texts), row["answer"], has_picture)


def copy_sample(row: dict, media: str, before: int) -> Sample:
    """Return the sample of a row of the hub's copy, named by its place: the copy has no ids.

    Source
    ------
    The form of the question: LLaVA `scripts/convert_sqa_to_llava_base_prompt.py`, CQM-A.
    """
    options = zip(string.ascii_uppercase, row["choices"], strict=False)
    lines = [
        f"Context: {(row['hint'] or '').strip() or 'N/A'}",
        f"Question: {row['question']}",
        "Options: " + " ".join(f"({letter}) {choice}" for letter, choice in options),
    ]
    known = range(len(row["choices"]))
    answer = layout.require_one_of(row["answer"], known, f"row {before} of the table")
    return Sample(
        id=str(before),
        media=media,
        question="\n".join(lines).replace("  ", " ").strip() + f"\n{layout.LETTER_ANSWER}",
        answer=string.ascii_uppercase[answer],
        split="image" if media else "text",
        options=tuple(row["choices"]),
    )
