"""The four video benchmarks in the layout of Video-LLaVA: test_q.json, test_a.json and videos.

Read next: data/datasets.yaml says where each benchmark keeps its videos; frames.py reads a video.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sparsevlm.benchmarks.datasets.declared import datasets
from sparsevlm.benchmarks.loaders.frames import KINDS
from sparsevlm.benchmarks.loaders.layout import DataError, read_json, require_keys, require_same_ids
from sparsevlm.benchmarks.sample import Sample

QUESTIONS, ANSWERS = "test_q.json", "test_a.json"
FIRST = 1000  # questions that the paper uses, as FastV does
# dataset/README.md of MILVLG/activitynet-qa: question types 0 to 2, answer types from 3.
ACTIVITYNET_TYPES = (
    "motion", "spatial relationship", "temporal relationship", "yes/no", "color", "object",
    "location", "number", "other",
)  # fmt: skip
ASKED_FOR = ("what", "who", "how", "when", "where")  # kinds of question in MSVD-QA and MSRVTT-QA


def _first_word(question: str, answer: Mapping) -> str:
    """Return the kind of question of MSVD-QA and MSRVTT-QA: its first word."""
    word = question.split()[0].lower() if question.split() else ""
    return word if word in ASKED_FOR else "other"


def read(name: str, folder: Path, first: int = FIRST) -> list[Sample]:
    """Return the first questions in the order of the file.

    The question is asked as it is. `media` is the video's file, or a folder of its frames; for
    a video that is not there, the .mp4 that is missing.

    Raises
    ------
    DataError
        The files are no lists of questions and answers, or not of one version.

    Source
    ------
    Video-LLaVA `run_inference_video_qa.py`. Differences: it pairs questions and answers by
    position, which goes wrong with several processes; and it silently leaves out
    questions whose video is missing.
    """
    videos = datasets()[name].videos
    asked = _rows(folder / QUESTIONS, ("video_name", "question", "question_id"))[:first]
    answers = _paired(asked, _rows(folder / ANSWERS, ("answer",)))
    found = _found(folder / videos.folder)
    samples = []
    for row, answer in zip(asked, answers, strict=True):
        video, question = str(row["video_name"]), str(row["question"])
        names = (f"{videos.prefix}{video}", video)  # some copies have the prefix in it already
        file = next((found[one] for one in names if one in found), f"{names[0]}.mp4")
        split = SPLITS[name](question, answer) if name in SPLITS else ""
        media, said = f"{videos.folder}/{file}", str(answer["answer"])
        try:
            samples.append(Sample(str(row["question_id"]), media, question, said, split=split))
        except ValueError as error:
            raise DataError(f"question {row['question_id']!r} in {QUESTIONS}: {error}") from error
    return samples


def _rows(path: Path, keys: Sequence[str]) -> list[dict]:
    rows = read_json(path)
    if not isinstance(rows, list):
        raise DataError(f"{path} must be a list of objects; download it again")
    return [require_keys(row, keys, f"entry {i} of {path}") for i, row in enumerate(rows)]


def _paired(asked: Sequence[Mapping], answers: Sequence[Mapping]) -> list[Mapping]:
    """Return the answer of each question: by its id, or by position where answers have none."""
    if not any("question_id" in row for row in answers):
        if len(answers) < len(asked):
            raise DataError(
                f"{ANSWERS} has {len(answers)} answers without ids for {len(asked)} questions; "
                f"it must be of one version with {QUESTIONS}"
            )
        return list(answers[: len(asked)])
    by_id = {str(row.get("question_id")): row for row in answers}
    if len(by_id) < len(answers):
        raise DataError(f"{ANSWERS} has an id twice, or none; download it again")
    ids = [str(row["question_id"]) for row in asked]
    require_same_ids(ids, set(ids) & by_id.keys(), (QUESTIONS, ANSWERS))
    return [by_id[name] for name in ids]


def _found(videos: Path) -> dict[str, str]:
    """Return the names of videos and the files that hold them, the first of `KINDS` first."""
    found: dict[str, str] = {}
    rank = {kind: place for place, kind in enumerate(KINDS)}
    entries = sorted(
        videos.iterdir(), key=lambda path: (rank.get(path.suffix.lower(), 0), path.name)
    )
    for path in entries:
        if path.suffix.lower() in rank:
            found.setdefault(path.stem, path.name)
        elif path.is_dir():
            found.setdefault(path.name, path.name)
    return found


def _activitynet_type(question: str, answer: Mapping) -> str:
    """Return the name of the type of a question of ActivityNet-QA; "" where answers have none."""
    if "type" not in answer:
        return ""
    number = str(answer["type"])
    if not number.isdecimal() or int(number) >= len(ACTIVITYNET_TYPES):
        raise DataError(
            f"the type of {answer.get('question_id')!r} must be 0 to {len(ACTIVITYNET_TYPES) - 1}, "
            f"got {answer['type']!r}; download the answers again"
        )
    return ACTIVITYNET_TYPES[int(number)]


# The kind of a question, from its words and the row of its answer.
SPLITS: dict[str, Callable[[str, Mapping], str]] = {
    "msvd": _first_word,
    "msrvtt": _first_word,
    "activitynet": _activitynet_type,
}
