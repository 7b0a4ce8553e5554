"""The questions of the miniature LLaVA, and the images that they are about."""

from __future__ import annotations

from PIL.Image import Image

from sparsevlm.miniature.question_families import FAMILIES as FAMILIES
from sparsevlm.miniature.questions import benchmark_samples
from sparsevlm.miniature.scenes import make_scene

samples = benchmark_samples
scene = make_scene  # of a seed, with its objects


def draw(seed: int) -> list[Image]:
    """The scene of a seed."""
    return [scene(seed).image]
