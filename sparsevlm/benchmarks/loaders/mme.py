"""MME: 2,374 yes/no questions, two per image, in fourteen subtasks."""

from __future__ import annotations

from pathlib import Path

from sparsevlm.benchmarks.loaders.layout import SHORT_ANSWER, DataError, numbered, read_jsonl
from sparsevlm.benchmarks.sample import Sample

QUESTIONS = "llava_mme.jsonl"
RELEASE = "MME_Benchmark_release_version"
YES_OR_NO = "Please answer yes or no."

Answers = dict[tuple[str, str, str], str]  # (subtask, file without ending, question) -> Yes or No


def read(folder: Path) -> list[Sample]:
    """Return the questions in the order of LLaVA's file; `group` is the image, `split` the subtask.

    Raises
    ------
    DataError
        A question has no answer in the release.
    """
    answers = _answers(folder / RELEASE)
    rows = read_jsonl(folder / QUESTIONS)
    names = numbered(row["question_id"] for row in rows)
    return [
        _sample(row, f"{image}#{before}", answers)
        for row, (image, before) in zip(rows, names, strict=True)
    ]


def _sample(row: dict, name: str, answers: Answers) -> Sample:
    image = row["question_id"]
    subtask, _, file = image.partition("/")
    return Sample(
        id=name,
        media=f"{RELEASE}/{row['image']}",
        question=row["text"],
        answer=_answer(answers, subtask, Path(file).name.split(".")[0], row["text"]),
        group=image,
        split=subtask,
    )


def _answer(answers: Answers, subtask: str, stem: str, text: str) -> str:
    """Look the question up as LLaVA's `convert_answer_to_mme.py` does: with one blank, then two."""
    question = text.replace(SHORT_ANSWER, "").strip()
    forms = [question] if YES_OR_NO in question else []
    forms += [f"{question}{blanks}{YES_OR_NO}" for blanks in (" ", "  ")]
    for form in forms:
        if (subtask, stem, form) in answers:
            return answers[subtask, stem, form]
    raise DataError(
        f"{RELEASE} has no answer to {question!r} about {subtask}/{stem}; "
        f"is {RELEASE}/{subtask} there, with the .txt files?"
    )


def _answers(release: Path) -> Answers:
    answers: Answers = {}
    for subtask in sorted(path for path in release.iterdir() if path.is_dir()):
        split_up = (subtask / "images").is_dir()
        files = subtask / "questions_answers_YN" if split_up else subtask
        for path in sorted(files.glob("*.txt")):
            for line in filter(str.strip, path.read_text(encoding="utf-8").split("\n")):
                question, *answer = line.strip().split("\t")
                if len(answer) != 1:
                    raise DataError(
                        f"a line of {path} must be a question, a tab and Yes or No; got {line!r}"
                    )
                answers[subtask.name, path.name.removesuffix(".txt"), question] = answer[0]
    return answers


def copy_sample(row: dict, media: str, before: int) -> Sample:
    """Return the sample of a row of the hub's copy; `before` rows had its picture before it."""
    question = row["question"].replace(YES_OR_NO, "").strip()
    return Sample(
        id=f"{row['question_id']}#{before}",
        media=media,
        question=f"{question}\n{SHORT_ANSWER}",
        answer=row["answer"],
        group=row["question_id"],
        split=row["category"],
    )
