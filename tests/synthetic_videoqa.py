"""Tiny video data in the official layout, from the clips that the miniature draws.

The scores say nothing; files, fields and traps (answers in another order than questions, videos of
several kinds, the prefix of ActivityNet) are those of the real data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sparsevlm.benchmarks.datasets.declared import Videos, datasets
from sparsevlm.benchmarks.loaders.frames import KEY
from sparsevlm.benchmarks.loaders.videoqa import ANSWERS, QUESTIONS
from sparsevlm.benchmarks.sample import Sample

Change = Callable[[Sample], Sample]  # another sample in place of one that was drawn


def unchanged(sample: Sample) -> Sample:
    """Return the sample as it was drawn."""
    return sample


def _save_array(frames: Sequence[Image.Image], path: Path) -> None:
    np.savez_compressed(path.with_suffix(".npz"), **{KEY: np.stack([*map(np.asarray, frames)])})


def _save_folder(frames: Sequence[Image.Image], path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames, start=1):
        frame.save(path / f"frame {number}.png")


VIDEOS = {name: one.videos for name, one in datasets().items() if one.videos}
SAVERS = (_save_array, _save_folder)  # take turns; no video package is needed


def _write(videos: Videos, samples: Sequence[Sample], folder: Path) -> None:
    from sparsevlm.miniature.video_llava.clips import make_clip

    (folder / videos.folder).mkdir(parents=True, exist_ok=True)
    rows, answers = [], []
    for number, sample in enumerate(samples):
        name = f"clip{sample.seed}"
        frames = make_clip(sample.seed).frames
        SAVERS[number % len(SAVERS)](frames, folder / videos.folder / f"{videos.prefix}{name}")
        key = {"question_id": f"{videos.prefix}{name}_{number}"}
        rows.append({"video_name": name, "question": sample.question} | key)
        answers.append({"answer": sample.answer, "type": number % 9} | key)
    (folder / QUESTIONS).write_text(json.dumps(rows), encoding="utf-8")
    (folder / ANSWERS).write_text(json.dumps(answers[::-1]), encoding="utf-8")


def write_synthetic_videos(
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
        A key of `VIDEOS`.
    folder : path
        Made if it is not there; files of a former set are replaced.
    n, seed : int
        How many samples; which clips.
    change : callable
        Makes another sample of each.
    """
    from sparsevlm.miniature.video_llava.questions import samples

    _write(VIDEOS[name], [change(one) for one in samples(name, n, seed)], Path(folder))
    return Path(folder)
