"""The images of `data/samples`: photographs, and scenes of a miniature."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from sparsevlm.evaluation.paths import DATA
from sparsevlm.models.images import load_image

if TYPE_CHECKING:
    from PIL.Image import Image

FOLDER = DATA / "samples"


@dataclass(frozen=True)
class SampleImage:
    """An image that comes with the repository.

    Attributes
    ----------
    name, file, title : str
        For code, on disk, for readers.
    kind : str
        "photograph", or "miniature" for a drawn scene.
    source, licence : str
        Where it is from.
    questions : tuple of str
        Worth asking.
    """

    name: str
    file: str
    title: str
    kind: str
    source: str
    licence: str
    questions: tuple[str, ...]

    def open(self) -> Image:
        """Return the image."""
        return load_image(FOLDER / self.file)


@cache
def sample_images() -> dict[str, SampleImage]:
    """Return the bundled images by name, in the order in which they are offered."""
    rows = json.loads((FOLDER / "samples.json").read_text(encoding="utf-8"))
    samples = [SampleImage(**{**row, "questions": tuple(row["questions"])}) for row in rows]
    return {sample.name: sample for sample in samples}
