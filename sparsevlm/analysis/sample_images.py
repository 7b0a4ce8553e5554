"""The images of `data/samples`: photographs, and scenes and clips of the miniatures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from sparsevlm.evaluation.paths import DATA
from sparsevlm.miniature.registry import MINIATURES

FOLDER = DATA / "samples"


@dataclass(frozen=True)
class SampleImage:
    """A bundled image with questions worth asking; its file is in `data/samples`.

    A "scene" or "clip" is drawn, for the bundled models; a "photograph" is for the real ones.
    """

    name: str
    file: str
    title: str
    kind: str
    source: str
    licence: str
    questions: tuple[str, ...]


@cache
def sample_images() -> dict[str, SampleImage]:
    """The bundled images by name, in the order in which they are offered."""
    rows = json.loads((FOLDER / "samples.json").read_text(encoding="utf-8"))
    made = [SampleImage(**{**row, "questions": tuple(row["questions"])}) for row in rows]
    return {sample.name: sample for sample in made}


def kind_for(model: str) -> str:
    """Return the kind of image that a model was made for; a film's miniature sees clips alone."""
    if model not in MINIATURES:
        return "photograph"
    return "clip" if MINIATURES[model].architecture == "video_llava" else "scene"


def first_sample(model: str) -> str:
    """Return the image that a model is asked about first: one of the kind that it was made for."""
    kind = kind_for(model)
    return next(sample.name for sample in sample_images().values() if sample.kind == kind)
