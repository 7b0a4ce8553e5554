"""Images to ask about: those that come with the repository, and the user's own."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from PIL import Image
from pydantic import PlainValidator

from sparsevlm.analysis.sample_images import FOLDER, SampleImage, sample_images
from sparsevlm.benchmarks.loaders.frames import KINDS, read_frames
from sparsevlm.models.images import load_image

Source = str | Path | Image.Image
SIDES = (1400, 1000, 700, 500, 350, 250, 175, 125)  # pixels of a picture that has to be smaller


def packed(frames: Sequence[Image.Image], kind: str) -> list[str]:
    """Images in base 64, as "PNG" or "JPEG"."""
    found = []
    for frame in frames:
        frame.save(buffer := io.BytesIO(), kind, quality=88)
        found.append(base64.b64encode(buffer.getvalue()).decode())
    return found


def _from_file(rows: Sequence[str]) -> tuple[Image.Image, ...]:
    return tuple(load_image(base64.b64decode(row)) for row in rows)


Frames = Annotated[tuple[Image.Image, ...], PlainValidator(_from_file)]


@dataclass(frozen=True)
class ImageInput:
    """An image or video to ask about: one RGB image, or several frames of one size.

    Attributes
    ----------
    name
        Of the sample, or "".
    asked
        The frames as the model sees them (`PromptBuilder.seen`), which is what it is asked about;
        none before the first question.
    original
        Width and height of a frame before it was made smaller for a file; ``None``: it was not.
    exact
        False where a file had no room for what the model saw, and kept a smaller picture.

    Raises
    ------
    ValueError
        Without a frame, or for frames of different sizes.
    """

    title: str
    frames: Frames
    name: str = ""
    asked: Frames = ()
    original: tuple[int, int] | None = None
    exact: bool = True

    def __post_init__(self) -> None:
        sizes = sorted({frame.size for frame in self.frames})
        if len(sizes) != 1:
            raise ValueError(
                f"an input needs one frame or several of one size, got the sizes {sizes}"
            )

    def for_file(self) -> Iterator[dict]:
        """Yield the fields as a file takes them, smaller and smaller.

        First the frames themselves, of which the model sees the same again. Then ever smaller ones
        to look at, and with them exactly what the model saw; at last without that.
        """
        kept = {"title": self.title, "name": self.name, "exact": self.exact}
        if self.original is None:
            yield {**kept, "frames": packed(self.frames, "PNG")}
        kept["original"] = self.size
        ways = [{"exact": False}]
        if self.asked:
            ways.insert(0, {"asked": packed(self.asked, "PNG")})
        for way in ways:
            for side in SIDES:
                small = [frame.copy() for frame in self.frames]
                for frame in small:
                    frame.thumbnail((side, side))
                yield {**kept, "frames": packed(small, "JPEG"), **way}

    @classmethod
    def open(cls, source: Source | Sequence[Source]) -> ImageInput:
        """Open a bundled image by name, a PIL image, a file, or the frames of a video.

        They are turned upright, with transparency on white (`load_image`). Of a file with a video,
        and of a folder of frames, eight are taken (`read_frames`).

        Raises
        ------
        ValueError
            If it is no image; FileNotFoundError if there is no such sample or file.
        """
        if isinstance(source, list | tuple):
            frames = tuple(map(load_image, source))
            return cls(f"video of {len(frames)} frames", frames)
        if not isinstance(source, str | Path):
            return cls("own image", (load_image(source),))
        sample = sample_images().get(str(source))
        path = FOLDER / sample.file if sample else Path(source)
        if not path.exists():
            known = ", ".join(sample_images())
            raise FileNotFoundError(f"no image {str(source)!r}: give a file or one of {known}")
        is_video = path.is_dir() or path.suffix.lower() in KINDS
        frames = tuple(read_frames(path, way="upright")) if is_video else (load_image(path),)
        return cls(sample.title, frames, sample.name) if sample else cls(path.name, frames)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a frame in pixels, as it was opened."""
        return self.original or self.frames[0].size

    @property
    def sample(self) -> SampleImage | None:
        """The bundled image that this is, with its questions; ``None`` for the user's own."""
        return sample_images().get(self.name)
