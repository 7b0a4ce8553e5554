"""Questions about pictures of any size: families like MMBench, POPE and TextVQA."""

from __future__ import annotations

import zlib

import numpy as np

from ...benchmarks.sample import Sample
from ..facts import Facts, shuffled
from ..question_families import (
    Draft,
    gqa_color,
    gqa_shape,
    pope_adversarial,
    pope_popular,
    pope_random,
    textvqa,
)
from ..questions import BENCHMARK_SEEDS
from ..scenes import CORNERS, SHAPE_COLOURS, SHAPES
from ..statements import option_words, other_values
from .pictures import make_picture


def _color(facts, rng):
    draft = gqa_color(facts, rng)
    return draft and (draft[0], list(SHAPE_COLOURS), "attribute")


def _shape(facts, rng):
    draft = gqa_shape(facts, rng)
    return draft and (draft[0], list(SHAPES), "identity")


def _letter(facts, rng):
    draft = textvqa(facts, rng)
    return draft and (draft[0], other_values("letter"), "text")


def _corners(facts, rng):
    colours = list(facts.by_colour)
    if not colours:
        return None
    colour = colours[int(rng.integers(len(colours)))]
    value = CORNERS[facts.by_colour[colour].kind]
    question = f"how many corners has the {colour} thing ?"
    return Draft(question, value), other_values("corners"), "knowledge"


def _choice(stem: str, value: str, options: list[str], split: str) -> Draft:
    text = " ".join(f"{label} {option}" for label, option in zip("ABCD", options, strict=True))
    return Draft(f"{stem} {text}", "ABCD"[options.index(value)], split, options=tuple(options))


def mmbench(facts: Facts, rng: np.random.Generator) -> list[Draft] | None:
    """All four rotations of the options of one question; without questions about places.

    Qwen2-VL's tower knows no absolute place, and thirds of a picture of unknown size were not
    tried; corners (a fact about the named shape) take their turn.
    """
    makers = (_color, _shape, _letter, _corners)
    made = makers[int(rng.integers(len(makers)))](facts, rng)
    if not made:
        return None
    draft, pool, split = made
    options = option_words(rng, [draft.answer], pool)
    rotations = [options[i:] + options[:i] for i in range(len(options))]
    return [_choice(draft.question, draft.answer, turned, split) for turned in rotations]


FAMILIES = {
    "mmbench": (mmbench,),
    "pope": (pope_random, pope_popular, pope_adversarial),
    "textvqa": (textvqa,),
}
# Multiple choice needs two steps and is trained on as often as the two others together.
_SHARES = ("mmbench", "mmbench", "pope", "textvqa")
# What is learned last.
_HARD = ("mmbench/text", "pope/random", "pope/popular", "pope/adversarial")


def benchmark_samples(benchmark: str, n: int, seed: int) -> list[Sample]:
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
    samples: list[Sample] = []
    number = 0
    while True:
        picture = base + number
        family = FAMILIES[benchmark][number % len(FAMILIES[benchmark])]
        number += 1
        drafts = family(Facts(make_picture(picture)), np.random.default_rng((picture, 1)))
        if not drafts:
            continue
        if len(samples) + len(drafts) > n:
            return samples
        group = f"{benchmark}/{number:05d}"
        for index, draft in enumerate(drafts):
            name = group if len(drafts) == 1 else f"{group}.{index}"
            samples.append(Sample(name, f"scene:{picture}", group=group, **vars(draft)))


def training_drafts(
    facts: Facts, rng: np.random.Generator, count: int, hard: int = 0
) -> list[tuple[str, Draft]]:
    """``count`` questions about a training picture, each with the name of its kind.

    At least ``hard`` of them are of the kinds that are learned last, letters among options and
    existence.
    """
    drafts: list[tuple[str, Draft]] = []
    while len(drafts) < count:
        name = _SHARES[int(rng.integers(len(_SHARES)))]
        family = FAMILIES[name][int(rng.integers(len(FAMILIES[name])))]
        made = family(facts, rng)
        if made:
            draft = made[int(rng.integers(len(made)))]
            kind = f"{name}/{draft.split}"
            if len(drafts) >= hard or kind in _HARD:
                drafts.append((kind, draft))
    return shuffled(rng, drafts)
