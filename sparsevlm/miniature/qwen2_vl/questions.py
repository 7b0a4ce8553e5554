"""Questions about pictures of any size: families like MMBench, POPE and TextVQA."""

from __future__ import annotations

import zlib
from functools import partial

import numpy as np
from PIL.Image import Image

from sparsevlm.benchmarks.sample import Sample
from sparsevlm.miniature import questions
from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.question_families import (
    Draft,
    choose_color,
    choose_letter,
    choose_shape,
    pope_adversarial,
    pope_popular,
    pope_random,
    rotations,
    textvqa,
)
from sparsevlm.miniature.questions import BENCHMARK_SEEDS, grouped_samples
from sparsevlm.miniature.qwen2_vl.pictures import make_picture
from sparsevlm.miniature.scenes import CORNERS
from sparsevlm.miniature.statements import other_values


def _corners(facts, rng):
    colours = list(facts.by_colour)
    if not colours:
        return None
    colour = colours[int(rng.integers(len(colours)))]
    value = CORNERS[facts.by_colour[colour].kind]
    question = f"how many corners has the {colour} thing ?"
    return Draft(question, value), other_values("corners"), "knowledge"


def mmbench(facts: Facts, rng: np.random.Generator) -> list[Draft] | None:
    """All four rotations of the options of one question; without questions about places.

    Qwen2-VL's tower knows no absolute place, and thirds of a picture of unknown size were not
    tried; corners (a fact about the named shape) take their turn.
    """
    return rotations(facts, rng, (choose_color, choose_shape, choose_letter, _corners))


FAMILIES = {
    "mmbench": (mmbench,),
    "pope": (pope_random, pope_popular, pope_adversarial),
    "textvqa": (textvqa,),
}
# Multiple choice needs two steps and is trained on as often as the two others together.
_SHARES = ("mmbench", "mmbench", "pope", "textvqa")
# What is learned last.
_HARD = ("mmbench/text", "pope/random", "pope/popular", "pope/adversarial")


def draw(seed: int) -> list[Image]:
    """The picture of a seed."""
    return [make_picture(seed).image]


def samples(benchmark: str, n: int, seed: int) -> list[Sample]:
    """The first samples of a benchmark; parameters and errors as `questions.benchmark_samples`.

    The pictures are drawn by `pictures.make_picture`.
    """
    if benchmark not in FAMILIES:
        raise ValueError(
            f"the miniature Qwen2-VL has no benchmark {benchmark!r}; choose from "
            f"{', '.join(FAMILIES)}"
        )
    if n < 1:
        raise ValueError(f"the number of samples must be at least 1, got {n}")
    base = BENCHMARK_SEEDS + zlib.crc32(f"qwen2-vl/{benchmark}/{seed}".encode()) * 10**6
    return grouped_samples(benchmark, FAMILIES[benchmark], n, base, make_picture)


training_drafts = partial(
    questions.training_drafts, families=FAMILIES, shares=_SHARES, hard_kinds=_HARD
)
