"""The questions of the miniature Mini-Gemini: those of mini-llava, and some about small print."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from sparsevlm.benchmarks.sample import Sample
from sparsevlm.miniature.mini_gemini.images import make_image, small_cards
from sparsevlm.miniature.question_families import FAMILIES as FAMILIES
from sparsevlm.miniature.questions import SCENES_KEPT, benchmark_samples
from sparsevlm.miniature.scenes import SceneObject

SMALL_TEXT = "small text"


scene = lru_cache(maxsize=SCENES_KEPT)(make_image)  # of a seed, with its objects


def samples(benchmark: str, n: int, seed: int) -> list[Sample]:
    """The first ``n`` samples of a miniature benchmark, whole groups only.

    The questions of mini-llava, about the same scenes, which here come at twice the resolution and
    with small cards on them that none of these questions is about. In TextVQA every second
    question asks for the letter on a small card instead (split ``"small text"``).

    Raises
    ------
    ValueError
        Unknown benchmark, or n below one.
    """
    drawn = benchmark_samples(benchmark, n, seed)
    if benchmark != "textvqa":
        return drawn
    return [small_print(s) if number % 2 else s for number, s in enumerate(drawn)]


def small_print(sample: Sample) -> Sample:
    """The sample with a question about a small card; unchanged where there was no room for one."""
    cards = small_cards(scene(sample.seed))
    if not cards:
        return sample
    card = cards[int(np.random.default_rng((sample.seed, 4)).integers(len(cards)))]
    return replace(
        sample,
        question=question_about(card, sample.seed),
        answer=card.glyph,
        answers=(card.glyph,) * 10,
        split=SMALL_TEXT,
    )


def question_about(card: SceneObject, form: int) -> str:
    """Asks for the letter on a card; both forms of `question_families.textvqa`, by turns."""
    forms = ("what letter is on the {} card ?", "what is written on the {} card ?")
    return forms[form % 2].format(card.color)
