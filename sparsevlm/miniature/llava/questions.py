"""The questions of the miniature LLaVA, and the images that they are about."""

from __future__ import annotations

from PIL.Image import Image

from sparsevlm.miniature.question_families import FAMILIES as FAMILIES
from sparsevlm.miniature.questions import benchmark_samples
from sparsevlm.miniature.scenes import make_scene

samples = benchmark_samples


def draw(seed: int) -> list[Image]:
    """The scene of a seed."""
    return [make_scene(seed).image]
