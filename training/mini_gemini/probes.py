"""Where the miniature Mini-Gemini looks, and what it reads without its high-resolution tower.

As `llava.probes`, on images with small cards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.glyphs import GLYPHS
from sparsevlm.miniature.mini_gemini.images import make_image, small_cards
from sparsevlm.miniature.mini_gemini.questions import question_about
from sparsevlm.miniature.question_families import FAMILIES
from sparsevlm.miniature.scenes import Scene, make_scene
from sparsevlm.miniature.vocabulary import BEFORE_IMAGE, IMAGE, encode
from training.llava.probes import FIRST, VISUAL, named_objects, whole_image
from training.mini_gemini.vision import coarse_pixels, fine_pixels, mined_features
from training.probing import (
    PROBE_SCENES,
    PROBE_SEEDS,
    Asked,
    Look,
    best_head,
    mean_looks,
    one_of_every_family,
    right_when_blind,
)
from training.recipes import TRAINING_SEEDS

SILENT_SCENES = 100
NAMING_WORD = 5  # "what letter is on the OLIVE card ?", and "what is written on the OLIVE ..."


def probes(model) -> dict:
    """All probes; leaves the model with the attention kernel "eager"."""
    model.set_attn_implementation("eager")
    with silent_mining(model):
        silent = small_print_accuracy(model, SILENT_SCENES)
    return {
        "scenes": PROBE_SCENES,
        "attention": attention_on_target(model, PROBE_SCENES, small=False),
        "attention on small cards": attention_on_target(model, PROBE_SCENES, small=True),
        "without_image_from": accuracy_without_image_from(model, PROBE_SCENES),
        "small print": {
            "questions": SILENT_SCENES,
            "both towers": small_print_accuracy(model, SILENT_SCENES),
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


def _inputs(scene: Scene, question: str) -> dict[str, Tensor]:
    words = [*question.split(), "ASSISTANT", ":"]
    ids = [*encode(list(BEFORE_IMAGE)), *[IMAGE] * VISUAL, *encode(words)]
    fine = fine_pixels([scene])
    pixels = {"pixel_values": coarse_pixels(fine), "pixel_values_aux": fine}
    return {"input_ids": torch.tensor([ids]), **pixels}


def _named_small_cards(scene: Scene) -> list[tuple[str, int, np.ndarray]]:
    return [
        (question_about(card, scene.seed), NAMING_WORD, scene.patches_of(card))
        for card in small_cards(scene)
    ]


@torch.inference_mode()
def attention_on_target(model, scenes: int, small: bool) -> dict[str, list[float]]:
    """Share of attention on the patches of the named object, by layer (the best head of each).

    As `llava.probes.attention_on_target`; with ``small`` about small cards alone, without it about
    whatever else the scene shows.
    """
    return mean_looks(_looks(model, scenes, small))


def _looks(model, scenes: int, small: bool) -> Iterator[Look]:
    for number in range(scenes):
        image = make_image(PROBE_SEEDS + number)
        scene = make_scene(PROBE_SEEDS + number)
        named = _named_small_cards(image) if small else named_objects(scene)
        for index in np.random.default_rng(number).permutation(len(named))[:3]:
            question, word, patches = named[index]
            output = model(**_inputs(image, question), output_attentions=True)
            best = best_head(output.attentions, FIRST + patches)
            yield best, FIRST + VISUAL + word, len(patches) / VISUAL


@torch.inference_mode()
def accuracy_without_image_from(model, scenes: int) -> list[float]:
    """See `probing.right_when_blind`, about the questions of `llava.probes`."""
    return right_when_blind(model, _asked(model, scenes))


def _asked(model, scenes: int) -> Iterator[Asked]:
    for number in range(scenes):
        seed = PROBE_SEEDS + TRAINING_SEEDS + number
        visual = model.model.projector(mined_features(model, [make_image(seed)]))
        turns = one_of_every_family(FAMILIES, Facts(make_scene(seed)), number)
        yield turns, lambda ids, layer, visual=visual: whole_image(model, visual, ids, layer)


@torch.inference_mode()
def small_print_accuracy(model, scenes: int) -> float:
    """Share of scenes whose first small card is read right."""
    right = count = 0
    for seed in range(PROBE_SEEDS, PROBE_SEEDS + scenes):
        scene = make_image(seed)
        for card in small_cards(scene)[:1]:
            logits = model(
                **_inputs(scene, question_about(card, scene.seed)), logits_to_keep=1
            ).logits
            right += int(logits[0, -1].argmax()) == encode([card.glyph])[0]
            count += 1
    return round(right / count, 3)
