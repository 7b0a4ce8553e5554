"""Questions about images of any size: families like MMBench, POPE and TextVQA."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np

from sparsevlm.miniature.facts import Facts, pick
from sparsevlm.miniature.question_families import FAMILIES as BASE
from sparsevlm.miniature.question_families import (
    Draft,
    choose_color,
    choose_letter,
    choose_shape,
    other_values,
    rotations,
)
from sparsevlm.miniature.questions import SCENES_KEPT, benchmark_samples
from sparsevlm.miniature.qwen2_vl.images import make_image
from sparsevlm.miniature.scenes import CORNERS


def _corners(facts, rng):
    color = pick(rng, facts.by_color)
    if color is None:
        return None
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


scene = lru_cache(maxsize=SCENES_KEPT)(make_image)  # of a seed, with its objects


samples = partial(benchmark_samples, families=FAMILIES, draw=scene, scope="qwen2-vl/")
