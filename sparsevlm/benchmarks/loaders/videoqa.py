"""The four video benchmarks in the layout of Video-LLaVA: test_q.json, test_a.json and videos.

Read next: `SETS` says where each benchmark keeps its videos; frames.py reads a video.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsevlm.benchmarks.datasets.declared import Layout
from sparsevlm.benchmarks.loaders.frames import KINDS
from sparsevlm.benchmarks.loaders.layout import DataError, read_json, require_keys, require_same_ids
from sparsevlm.benchmarks.sample import Sample

QUESTIONS, ANSWERS = "test_q.json", "test_a.json"
FIRST = 1000  # questions that the paper uses, as FastV does
SOURCE = (
    "the folder {} of Video-LLaVA's GPT_Zero_Shot_QA (TRAIN_AND_VALIDATE.md of "
    "PKU-YuanGroup/Video-LLaVA)"
)
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


@dataclass(frozen=True)
class VideoSet:
    """Where a benchmark keeps its videos, and how its questions are sorted.

    Attributes
    ----------
    folder, videos : str
        Of the benchmark, and in it of the videos.
    prefix : str
        Of a video's file, before its name.
    split : (question, row of the answers) -> str
        The kind of question.
    """

    folder: str
    videos: str
    prefix: str = ""
    split: Callable[[str, Mapping], str] = lambda question, answer: ""

    @property
    def layout(self) -> Layout:
        """What must be on disk; complete are the first 1000 questions."""
        source = SOURCE.format(self.folder)
        return Layout(
            folder=f"GPT_Zero_Shot_QA/{self.folder}",
            files=dict.fromkeys((QUESTIONS, ANSWERS, self.videos), source),
            rows=FIRST,
            hint=f"the paper uses the first {FIRST} questions",
        )

    def read(self, folder: Path, first: int = FIRST) -> list[Sample]:
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
        asked = _rows(folder / QUESTIONS, ("video_name", "question", "question_id"))[:first]
        answers = _rows(folder / ANSWERS, ("answer",))
        found = _found(folder / self.videos)
        return [
            self._sample(row, answer, found)
            for row, answer in zip(asked, _paired(asked, answers), strict=True)
        ]

    def _sample(self, row: Mapping, answer: Mapping, found: Mapping[str, str]) -> Sample:
        name, question = str(row["video_name"]), str(row["question"])
        names = (f"{self.prefix}{name}", name)  # some copies have the prefix in the name already
        file = next((found[name] for name in names if name in found), f"{names[0]}.mp4")
        try:
            return Sample(
                id=str(row["question_id"]),
                media=f"{self.videos}/{file}",
                question=question,
                answer=str(answer["answer"]),
                split=self.split(question, answer),
            )
        except ValueError as error:
            raise DataError(f"question {row['question_id']!r} in {QUESTIONS}: {error}") from error


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


SETS: dict[str, VideoSet] = {
    # Short animations, which Video-LLaVA's data have as .mp4.
    "tgif": VideoSet("TGIF_Zero_Shot_QA", "mp4"),
    # Short clips of everyday scenes.
    "msvd": VideoSet("MSVD_Zero_Shot_QA", "videos", split=_first_word),
    # Web videos of many kinds.
    "msrvtt": VideoSet("MSRVTT_Zero_Shot_QA", "videos/all", split=_first_word),
    # Longer videos, whose files have "v_" before the name that the questions use.
    "activitynet": VideoSet(
        "Activitynet_Zero_Shot_QA", "all_test", prefix="v_", split=_activitynet_type
    ),
}
