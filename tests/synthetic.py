"""Tiny data of the official layout, drawn by the miniature: the way through without any download.

The questions are about drawn scenes and the scores say nothing; files, fields, prompts and traps
(two questions about one image, rotations, text-only questions, wide pictures) are the official
ones.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image
from synthetic_videoqa import VIDEOS, Change, unchanged, write_synthetic_videos

from sparsevlm.benchmarks.loaders import gqa, mmbench, mme, mmvet, pope, scienceqa, seed, textvqa
from sparsevlm.benchmarks.loaders.layout import LETTER_ANSWER, SHORT_ANSWER
from sparsevlm.benchmarks.mmvet import AND_ABILITY
from sparsevlm.benchmarks.sample import Sample

WIDE = 3  # every third picture is half as wide again as it is high
# The miniature's kinds of choice by the name that SEED-Bench has for such a question.
ABILITIES = {
    "attribute": "Instance Attributes",
    "identity": "Instance Identity",
    "location": "Instance Location",
    "text": "Text Understanding",
    "count": "Instances Counting",
}
VIDEO_ABILITY = "Action Recognition"
VIDEO = 4  # every fourth question of SEED-Bench shows a frame of a video


def write_synthetic(
    name: str,
    folder: str | Path,
    n: int = 24,
    seed: int = 0,
    change: Change = unchanged,
) -> Path:
    """Write a tiny data set in the official layout and return its folder.

    Parameters
    ----------
    name : str
        A key of `BENCHMARKS`, the video benchmarks included.
    folder : path
        Made if it is not there; files of a former set are replaced.
    n, seed : int
        At most so many samples, whole groups; which scenes.
    change : callable
        Makes another sample of each.

    Raises
    ------
    ValueError
        There is no such benchmark.
    """
    if name in VIDEOS:
        return write_synthetic_videos(name, folder, n, seed, change)
    if name not in WRITERS:
        known = [*WRITERS, *VIDEOS]
        raise ValueError(f"no synthetic fixtures for {name!r}; known: {', '.join(known)}")
    from sparsevlm.miniature.questions import benchmark_samples

    WRITERS[name]([change(one) for one in benchmark_samples(name, n, seed)], Path(folder))
    return Path(folder)


def _picture(sample: Sample) -> Image.Image:
    from sparsevlm.miniature.scenes import make_scene

    scene = make_scene(sample.seed).image
    if sample.seed % WIDE:
        return scene
    wide = Image.new("RGB", (scene.width * 3 // 2, scene.height), "grey")
    wide.paste(scene, (scene.width // 4, 0))
    return wide


def _save(sample: Sample, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _picture(sample).save(path, "JPEG" if path.suffix == ".jpg" else "PNG")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _write_lines(path: Path, rows: Sequence[dict]) -> None:
    _write(path, "".join(f"{json.dumps(row)}\n" for row in rows))


def _stem(sample: Sample) -> str:
    """The question without the options, which the miniature has in one line with it."""
    return sample.question[: sample.question.index("?") + 1]


def _lettered(sample: Sample) -> str:
    lines = [f"{letter}. {option}" for letter, option in zip("ABCDE", sample.options, strict=False)]
    return "\n".join([_stem(sample), *lines])


def _gqa(samples: Sequence[Sample], folder: Path) -> None:
    rows, answers = [], {}
    for number, sample in enumerate(samples):
        name, image = f"20{number:06d}", f"n{sample.seed}"
        _save(sample, folder / gqa.IMAGES / f"{image}.jpg")
        text = f"{sample.question}\n{SHORT_ANSWER}"
        rows.append({"question_id": name, "image": f"{image}.jpg", "text": text})
        answers[name] = {"question": sample.question, "answer": sample.answer, "imageId": image}
        answers[name]["types"] = {"structural": "query", "semantic": "attr"}
    _write_lines(folder / gqa.QUESTIONS, [row | {"category": "default"} for row in rows])
    _write(folder / gqa.ANSWERS, json.dumps(answers))


def _pope(samples: Sequence[Sample], folder: Path) -> None:
    rows, labels = [], {split: [] for split in pope.SPLITS}
    for number, sample in enumerate(sorted(samples, key=lambda sample: sample.split), start=1):
        image = f"COCO_val2014_{sample.seed:012d}.jpg"
        _save(sample, folder / pope.IMAGES / image)
        text, split = sample.question, labels[sample.split]
        split.append({"question_id": len(split) + 1, "image": image, "text": text})
        split[-1]["label"] = sample.answer
        row = {"question_id": number, "image": image, "text": f"{text}\n{SHORT_ANSWER}"}
        rows.append(row | {"category": sample.split})
    _write_lines(folder / pope.QUESTIONS, rows)
    for split, name in pope.LABELS.items():
        _write_lines(folder / name, labels[split])


def _mme(samples: Sequence[Sample], folder: Path) -> None:
    rows, answers = [], {}
    for sample in samples:
        subtask, stem = sample.split, f"{sample.seed % 10**6:06d}"
        # The release keeps pictures of some subtasks apart; one does here.
        apart = subtask == "position"
        image = f"{subtask}/images/{stem}.png" if apart else f"{subtask}/{stem}.png"
        _save(sample, folder / mme.RELEASE / image)
        row = {"question_id": image, "image": image, "category": subtask}
        rows.append(row | {"text": f"{sample.question}\n{SHORT_ANSWER}"})
        place = f"{subtask}/questions_answers_YN" if apart else subtask
        line = f"{sample.question} {mme.YES_OR_NO}\t{sample.answer.capitalize()}\n"
        answers.setdefault(f"{place}/{stem}.txt", []).append(line)
    _write_lines(folder / mme.QUESTIONS, rows)
    for name, lines in answers.items():
        _write(folder / mme.RELEASE / name, "".join(lines))


def _scienceqa(samples: Sequence[Sample], folder: Path) -> None:
    rows, problems = [], {}
    for number, sample in enumerate(samples, start=1):
        options = " ".join(f"({a}) {b}" for a, b in zip("ABCDE", sample.options, strict=False))
        name = str(number)
        value = f"Context: N/A\nQuestion: {_stem(sample)}\nOptions: {options}"
        row: dict = {"id": name}
        if sample.split == "image":
            row["image"] = f"{name}/image.png"
            _save(sample, folder / scienceqa.IMAGES / row["image"])
            value = f"<image>\n{value}"
        talk = [("human", value), ("gpt", sample.answer)]
        row["conversations"] = [{"from": who, "value": text} for who, text in talk]
        rows.append(row)
        problems[name] = {"question": _stem(sample), "choices": list(sample.options), "hint": ""}
        problems[name]["answer"] = "ABCDE".index(sample.answer)
    (folder / scienceqa.IMAGES).mkdir(parents=True, exist_ok=True)
    _write(folder / scienceqa.QUESTIONS, json.dumps(rows, indent=2))
    _write(folder / scienceqa.PROBLEMS, json.dumps(problems))
    _write(folder / scienceqa.SPLITS, json.dumps({"test": list(problems), "val": []}))


def _seed(samples: Sequence[Sample], folder: Path) -> None:
    numbers = {name: number for number, name in enumerate(ABILITIES.values(), start=1)}
    numbers[VIDEO_ABILITY] = 10
    rows, questions = [], []
    for number, sample in enumerate(samples, start=1):
        video = number % VIDEO == 0
        ability = VIDEO_ABILITY if video else ABILITIES[sample.split]
        name = f"v{number}" if video else str(number)
        frame, image = f"{numbers[ability]}_{name}.png", f"{sample.seed}_{number}"
        media = f"{seed.FRAMES}/{frame}" if video else f"{seed.IMAGES}/{image}"
        _save(sample, folder / media)
        options = [*sample.options, "none", "all"][: len(seed.CHOICES)]
        known = dict(zip(seed.CHOICES, options, strict=True)) | {"answer": sample.answer}
        known |= {"data_id": f"{image}.webm" if video else image, "question": _stem(sample)}
        known |= {"data_type": "video" if video else "image", "question_id": name}
        questions.append(known | {"question_type_id": numbers[ability]})
        lines = [f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True)]
        row = {"image": media, "text": "\n".join([_stem(sample), *lines, LETTER_ANSWER])}
        rows.append(row | {"category": ability, "question_id": name if video else number})
    for name in (seed.IMAGES, seed.FRAMES):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write_lines(folder / seed.QUESTIONS, rows)
    _write(folder / seed.ANSWERS, json.dumps({"questions": questions, "question_type": numbers}))


def _textvqa(samples: Sequence[Sample], folder: Path) -> None:
    from sparsevlm.miniature.scenes import make_scene

    rows, data = [], []
    for number, sample in enumerate(samples, start=1):
        image = f"{sample.seed:016x}"
        _save(sample, folder / textvqa.IMAGES / f"{image}.jpg")
        tokens = [thing.glyph for thing in make_scene(sample.seed).objects if thing.is_card]
        lines = [sample.question, textvqa.OCR_LINE + ", ".join(tokens), SHORT_ANSWER]
        row = {"question_id": image, "image": f"{image}.jpg", "text": "\n".join(lines)}
        rows.append(row | {"category": "default"})
        known = {"question_id": number, "image_id": image, "question": sample.question}
        data.append(known | {"answers": list(sample.answers)})
    _write_lines(folder / textvqa.QUESTIONS, rows)
    _write(folder / textvqa.ANSWERS, json.dumps({"dataset_type": "val", "data": data}))


def _mmvet(samples: Sequence[Sample], folder: Path) -> None:
    rows, answers = [], {}
    for number, sample in enumerate(samples):
        image = f"v1_{number}.png"
        _save(sample, folder / mmvet.IMAGES / image)
        row = {"image": image, "text": sample.question, "category": "conv"}
        rows.append(row | {"question_id": number})
        answers[f"v1_{number}"] = {
            "imagename": image,
            "question": sample.question,
            "answer": mmvet.BOTH.join(sample.answers),
            "capability": sample.split.split(AND_ABILITY),
        }
    _write_lines(folder / mmvet.QUESTIONS, rows)
    _write(folder / mmvet.ANSWERS, json.dumps(answers))


def _mmbench(samples: Sequence[Sample], folder: Path) -> None:
    turns: Counter[str] = Counter()
    rows = []
    for sample in samples:
        picture = io.BytesIO()
        _picture(sample).save(picture, "PNG")
        base = 241 + list(dict.fromkeys(other.group for other in samples)).index(sample.group)
        options = dict(zip(mmbench.LETTERS, [*sample.options, "", ""], strict=False))
        row = {"index": base + turns[sample.group] * mmbench.ROTATION, "question": _stem(sample)}
        row |= {"hint": "", **options, "answer": sample.answer, "category": sample.split}
        row |= {"image": base64.b64encode(picture.getvalue()).decode(), "source": "drawn"}
        rows.append(row | {"l2-category": "drawn", "comment": "", "split": "dev"})
        turns[sample.group] += 1
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    # The official table has all original questions first, then the rotations.
    writer.writerows(sorted(rows, key=lambda row: row["index"]))
    _write(folder / mmbench.TABLE, stream.getvalue())


WRITERS: dict[str, Callable[[Sequence[Sample], Path], None]] = {
    "gqa": _gqa,
    "mmbench": _mmbench,
    "mme": _mme,
    "pope": _pope,
    "scienceqa": _scienceqa,
    "seed": _seed,
    "textvqa": _textvqa,
    "mmvet": _mmvet,
}
