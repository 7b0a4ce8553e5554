"""Where the miniature Mini-Gemini looks, and what it reads without its high-resolution tower.

As `llava.probes`, on pictures with small cards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ..glyphs import GLYPHS
from ..llava.losses import pack_turns
from ..llava.packed import turn_hidden
from ..llava.probes import (
    FIRST,
    PROBE_SCENES,
    PROBE_SEEDS,
    VISUAL,
    _one_of_every_family,
    named_objects,
)
from ..recipes import TRAINING_SEEDS
from ..scenes import Scene, make_scene
from ..vocabulary import BEFORE_IMAGE, IMAGE, encode
from .pictures import make_picture, small_cards
from .questions import question_about
from .vision import coarse_pixels, encode_pictures, fine_pixels

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
    rows: dict[str, list] = {"naming word": [], "last token": [], "area": []}
    for number in range(scenes):
        picture = make_picture(PROBE_SEEDS + number)
        scene = make_scene(PROBE_SEEDS + number)
        named = _named_small_cards(picture) if small else named_objects(scene)
        for index in np.random.default_rng(number).permutation(len(named))[:3]:
            question, word, patches = named[index]
            output = model(**_inputs(picture, question), output_attentions=True)
            maps = torch.stack(output.attentions)[:, 0]  # [layers, heads, queries, keys]
            best = maps[..., FIRST + patches].sum(-1).amax(1)  # [layers, queries]
            rows["naming word"].append(best[:, FIRST + VISUAL + word].tolist())
            rows["last token"].append(best[:, -1].tolist())
            rows["area"].append([len(patches) / VISUAL])
    return {name: np.mean(values, axis=0).round(3).tolist() for name, values in rows.items()}


@torch.inference_mode()
def accuracy_without_image_from(model, scenes: int) -> list[float]:
    """Share of answers that stay right when no text token sees the picture from a layer on.

    As `llava.probes.accuracy_without_image_from`, about the same questions.
    """
    variants = len(model.model.language_model.layers) + 1
    right, count = np.zeros(variants), 0
    places, start = torch.arange(FIRST, FIRST + VISUAL)[None], torch.tensor([FIRST + VISUAL])
    for number in range(scenes):
        seed = PROBE_SEEDS + TRAINING_SEEDS + number
        visual = model.model.projector(encode_pictures(model, [make_picture(seed)]))
        turns = _one_of_every_family(make_scene(seed), number)
        ids, asked = pack_turns([turns], visual.device)
        _, turn, place = asked.nonzero(as_tuple=True)
        for layer in range(variants):
            hidden = turn_hidden(model, visual, places, ids, start, blind_from=layer)
            best = model.lm_head(hidden[0, turn, place]).argmax(-1)
            wrong = set(turn[best != ids[0, turn, place + 1]].tolist())
            right[layer] += len(turns) - len(wrong)
        count += len(turns)
    return (right / count).round(3).tolist()


@torch.inference_mode()
def small_print_accuracy(model, scenes: int) -> float:
    """Share of scenes whose first small card is read right."""
    right = count = 0
    for seed in range(PROBE_SEEDS, PROBE_SEEDS + scenes):
        scene = make_picture(seed)
        for card in small_cards(scene)[:1]:
            logits = model(
                **_inputs(scene, question_about(card, scene.seed)), logits_to_keep=1
            ).logits
            right += int(logits[0, -1].argmax()) == encode([card.glyph])[0]
            count += 1
    return round(right / count, 3)
