"""Where the miniature Mini-Gemini looks, and what it reads without its high-resolution tower.

As `llava.probes`, on images with small cards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.glyphs import GLYPHS
from sparsevlm.miniature.mini_gemini.images import make_image, small_cards
from sparsevlm.miniature.mini_gemini.prompts import builder
from sparsevlm.miniature.mini_gemini.questions import question_about
from sparsevlm.miniature.question_families import FAMILIES
from sparsevlm.miniature.scenes import Scene, make_scene
from training.llava.probes import whole_image
from training.mini_gemini.vision import mined_features
from training.probing import (
    PROBE_SCENES,
    PROBE_SEEDS,
    Asked,
    Named,
    attention_on_target,
    named_objects,
    one_of_every_family,
    right_when_blind,
)
from training.recipes import TRAINING_SEEDS

SILENT_SCENES = 100
NAMING_WORD = 5  # "what letter is on the OLIVE card ?", and "what is written on the OLIVE ..."


def probes(model, scenes: int = PROBE_SCENES, silent_scenes: int = SILENT_SCENES) -> dict:
    """All probes; leaves the model with the attention kernel "eager".

    Attention on small cards is apart; otherwise the questions are those of `llava.probes`.
    """
    model.set_attn_implementation("eager")
    with silent_mining(model):
        silent = small_print_accuracy(model, silent_scenes)
    seeds = range(PROBE_SEEDS, PROBE_SEEDS + scenes)
    found = {
        name: attention_on_target(
            model, builder(model.config), ((make_image(s).image, named(s)) for s in seeds)
        )
        for name, named in (
            ("attention", lambda seed: named_objects(make_scene(seed))),
            ("attention on small cards", lambda seed: _named_small_cards(make_image(seed))),
        )
    }
    return {
        "scenes": scenes,
        **found,
        "without_image_from": right_when_blind(model, _asked(model, scenes)),
        "small print": {
            "questions": silent_scenes,
            "both towers": small_print_accuracy(model, silent_scenes),
            "mining silent": silent,
            "chance": 1 / len(GLYPHS),
        },
    }


@contextmanager
def silent_mining(model) -> Iterator[None]:
    """Inside, every visual token is what the low-resolution tower alone makes it."""
    handle = model.model.mining.register_forward_hook(lambda _, inputs, output: inputs[0])
    try:
        yield
    finally:
        handle.remove()


def _named_small_cards(scene: Scene) -> list[Named]:
    return [
        (question_about(card, scene.seed), NAMING_WORD, scene.patches_of(card))
        for card in small_cards(scene)
    ]


def _asked(model, scenes: int) -> Iterator[Asked]:
    for number in range(scenes):
        seed = PROBE_SEEDS + TRAINING_SEEDS + number
        visual = model.model.projector(mined_features(model, [make_image(seed)]))
        turns = one_of_every_family(FAMILIES, Facts(make_scene(seed)), number)
        yield turns, whole_image(model, visual)


@torch.inference_mode()
def small_print_accuracy(model, scenes: int) -> float:
    """Share of scenes whose first small card is read right."""
    right = count = 0
    asks = builder(model.config)
    for seed in range(PROBE_SEEDS, PROBE_SEEDS + scenes):
        scene = make_image(seed)
        for card in small_cards(scene)[:1]:
            inputs = asks.inputs([question_about(card, scene.seed)], [[scene.image]])
            best = model(**inputs, logits_to_keep=1).logits[:, -1].argmax(-1)
            right += asks.decode(best[:, None]) == [card.glyph]
            count += 1
    return round(right / count, 3)
