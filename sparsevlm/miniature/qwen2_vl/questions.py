"""Questions about images of any size: families like MMBench, POPE and TextVQA."""

from __future__ import annotations

import zlib

import numpy as np
from PIL.Image import Image

from sparsevlm.benchmarks.sample import Sample
from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.question_families import FAMILIES as BASE
from sparsevlm.miniature.question_families import (
    Draft,
    choose_color,
    choose_letter,
    choose_shape,
    other_values,
    rotations,
)
from sparsevlm.miniature.questions import BENCHMARK_SEEDS, grouped_samples
from sparsevlm.miniature.qwen2_vl.images import make_image
from sparsevlm.miniature.scenes import CORNERS


def _corners(facts, rng):
    colors = list(facts.by_color)
    if not colors:
        return None
    color = colors[int(rng.integers(len(colors)))]
    value = CORNERS[facts.by_color[color].kind]
    question = f"how many corners has the {color} thing ?"
    return Draft(question, value), other_values("corners"), "knowledge"


def mmbench(facts: Facts, rng: np.random.Generator) -> list[Draft] | None:
    """All four rotations of the options of one question; without questions about places.

    Qwen2-VL's tower knows no absolute place, and thirds of an image of unknown size were not
    tried; corners (a fact about the named shape) take their turn.
    """
    return rotations(facts, rng, (choose_color, choose_shape, choose_letter, _corners))


FAMILIES = {
    "mmbench": (mmbench,),
    "pope": BASE["pope"],
    "textvqa": BASE["textvqa"],
}


def draw(seed: int) -> list[Image]:
    """The image of a seed."""
    return [make_image(seed).image]


def samples(benchmark: str, n: int, seed: int) -> list[Sample]:
    """The first samples of a benchmark; parameters and errors as `questions.benchmark_samples`.

    The images are drawn by `images.make_image`.
    """
    if benchmark not in FAMILIES:
        raise ValueError(
            f"the miniature Qwen2-VL has no benchmark {benchmark!r}; choose from "
            f"{', '.join(FAMILIES)}"
        )
    if n < 1:
        raise ValueError(f"the number of samples must be at least 1, got {n}")
    base = BENCHMARK_SEEDS + zlib.crc32(f"qwen2-vl/{benchmark}/{seed}".encode()) * 10**6
    return grouped_samples(benchmark, FAMILIES[benchmark], n, base, make_image)
