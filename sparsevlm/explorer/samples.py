"""Pictures to ask about: those that come with the repository, and the user's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL.Image import Image

from sparsevlm.evaluation.paths import DATA
from sparsevlm.models.images import load_image

FOLDER = DATA / "samples"
KINDS = ("miniature", "photograph")


@dataclass(frozen=True)
class SamplePicture:
    """A bundled picture.

    Attributes
    ----------
    name, file, title
        For code, on disk (in `data/samples`), for readers.
    kind
        "miniature": a scene for the bundled model; "photograph": for the real models.
    source, licence
        Where it comes from.
    questions
        Worth asking.
    """

    name: str
    file: str
    title: str
    kind: str
    source: str
    licence: str
    questions: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """A picture or video to ask about.

    Attributes
    ----------
    title
        For readers.
    frames
        One RGB image, or several of one size for a video.
    name
        Of the sample, or "".

    Raises
    ------
    ValueError
        Without a frame, or for frames of different sizes.
    """

    title: str
    frames: tuple[Image, ...]
    name: str = ""

    def __post_init__(self) -> None:
        sizes = sorted({frame.size for frame in self.frames})
        if len(sizes) != 1:
            raise ValueError(
                f"a picture needs one frame or several of one size, got the sizes {sizes}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a frame in pixels."""
        return self.frames[0].size

    @property
    def is_video(self) -> bool:
        """Whether there are several frames."""
        return len(self.frames) > 1


@cache
def sample_pictures() -> dict[str, SamplePicture]:
    """The bundled pictures by name, in the order in which they are offered."""
    rows = json.loads((FOLDER / "samples.json").read_text(encoding="utf-8"))
    made = [SamplePicture(**{**row, "questions": tuple(row["questions"])}) for row in rows]
    return {sample.name: sample for sample in made}


def open_picture(source: str | Path | Image | Sequence[str | Path | Image]) -> Picture:
    """Open a bundled picture by name, a file, a PIL image, or the frames of a video.

    Raises
    ------
    ValueError
        If it is no picture; FileNotFoundError if there is no such sample or file.
    """
    if isinstance(source, (list, tuple)):
        frames = tuple(load_image(frame) for frame in source)
        return Picture(f"video of {len(frames)} frames", frames)
    if isinstance(source, Image):
        return Picture("own picture", (load_image(source),))
    sample = sample_pictures().get(str(source))
    if sample is not None:
        return Picture(sample.title, (load_image(FOLDER / sample.file),), sample.name)
    path = Path(source)
    if not path.exists():
        known = ", ".join(sample_pictures())
        raise FileNotFoundError(f"no picture {str(source)!r}: give a file or one of {known}")
    return Picture(path.name, (load_image(path),))
