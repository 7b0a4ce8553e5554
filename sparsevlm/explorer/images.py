"""Images to ask about: those that come with the repository, and the user's own."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from PIL import Image
from pydantic import PlainSerializer, PlainValidator

from sparsevlm.analysis.sample_images import FOLDER, SampleImage, sample_images
from sparsevlm.benchmarks.loaders.frames import KINDS, read_frames
from sparsevlm.models.images import load_image

Source = str | Path | Image.Image


def image_bytes(image: Image.Image) -> bytes:
    """A small image exactly, as PNG; a large one, a photograph, as JPEG."""
    kind = {"format": "PNG"} if max(image.size) <= 128 else {"format": "JPEG", "quality": 88}
    buffer = io.BytesIO()
    image.save(buffer, **kind)
    return buffer.getvalue()


def _to_file(frames: Sequence[Image.Image]) -> list[str]:
    return [base64.b64encode(image_bytes(frame)).decode() for frame in frames]


def _from_file(rows: Sequence[str]) -> tuple[Image.Image, ...]:
    return tuple(load_image(Image.open(io.BytesIO(base64.b64decode(row)))) for row in rows)


@dataclass(frozen=True)
class ImageInput:
    """An image or video to ask about.

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
    frames: Annotated[
        tuple[Image.Image, ...], PlainValidator(_from_file), PlainSerializer(_to_file)
    ]
    name: str = ""

    def __post_init__(self) -> None:
        sizes = sorted({frame.size for frame in self.frames})
        if len(sizes) != 1:
            raise ValueError(
                f"an input needs one frame or several of one size, got the sizes {sizes}"
            )

    @classmethod
    def open(cls, source: Source | Sequence[Source]) -> ImageInput:
        """Open a bundled image by name, a PIL image, a file, or the frames of a video.

        Of a file with a video, and of a folder of frames, eight are taken (`read_frames`).

        Raises
        ------
        ValueError
            If it is no image; FileNotFoundError if there is no such sample or file.
        """
        if isinstance(source, list | tuple):
            frames = tuple(map(load_image, source))
            return cls(f"video of {len(frames)} frames", frames)
        if isinstance(source, Image.Image):
            return cls("own image", (load_image(source),))
        sample = sample_images().get(str(source))
        path = FOLDER / sample.file if sample else Path(source)
        if not path.exists():
            known = ", ".join(sample_images())
            raise FileNotFoundError(f"no image {str(source)!r}: give a file or one of {known}")
        is_video = path.is_dir() or path.suffix.lower() in KINDS
        frames = tuple(read_frames(path)) if is_video else (load_image(path),)
        return cls(sample.title, frames, sample.name) if sample else cls(path.name, frames)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a frame in pixels."""
        return self.frames[0].size

    @property
    def sample(self) -> SampleImage | None:
        """The bundled image that this is, with its questions; ``None`` for the user's own."""
        return sample_images().get(self.name)
