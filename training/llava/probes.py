"""Where the miniature LLaVA looks, and when it is done with the image (see `..probing`)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.question_families import FAMILIES
from sparsevlm.miniature.scenes import GRID, Scene, make_scene
from sparsevlm.miniature.vocabulary import BEFORE_IMAGE, IMAGE, encode
from training.llava.packed import turn_hidden
from training.llava.vision import encode_images, pixel_tensor, project
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

FIRST = len(BEFORE_IMAGE)
VISUAL = GRID * GRID


def probes(model) -> dict:
    """Both probes on `PROBE_SCENES` scenes; leaves the model with the attention kernel "eager"."""
    model.set_attn_implementation("eager")
    return {
        "scenes": PROBE_SCENES,
        "attention": attention_on_target(model, PROBE_SCENES),
        "without_image_from": accuracy_without_image_from(model, PROBE_SCENES),
    }


def named_objects(scene: Scene) -> list[tuple[str, int, np.ndarray]]:
    """Questions that name one object: (question, place of the naming word, its patches)."""
    facts = Facts(scene)
    found = [(f"what color is the {k} ?", 4, o) for k, o in facts.by_kind.items()]
    found += [(f"what shape is the {c} thing ?", 4, o) for c, o in facts.by_color.items()]
    found += [(f"what letter is on the {c} card ?", 5, o) for c, o in facts.cards.items()]
    return [(question, word, scene.patches_of(obj)) for question, word, obj in found]


def _inputs(scene: Scene, question: str) -> dict:
    words = [*question.split(), "ASSISTANT", ":"]
    ids = [*encode(list(BEFORE_IMAGE)), *[IMAGE] * VISUAL, *encode(words)]
    return {"input_ids": torch.tensor([ids]), "pixel_values": pixel_tensor([scene])}


@torch.inference_mode()
def attention_on_target(model, scenes: int) -> dict[str, list[float]]:
    """Share of attention on the patches of the named object, by layer (`probing.mean_looks`).

    Parameters
    ----------
    model : LlavaForConditionalGeneration
        With the attention kernel "eager", which alone hands out its weights.
    scenes : int
        Three questions about each.
    """
    return mean_looks(_looks(model, scenes))


def _looks(model, scenes: int) -> Iterator[Look]:
    for number in range(scenes):
        scene = make_scene(PROBE_SEEDS + number)
        named = named_objects(scene)
        for index in np.random.default_rng(number).permutation(len(named))[:3]:
            question, word, patches = named[index]
            output = model(**_inputs(scene, question), output_attentions=True)
            best = best_head(output.attentions, FIRST + patches)
            yield best, FIRST + VISUAL + word, len(patches) / VISUAL


@torch.inference_mode()
def accuracy_without_image_from(model, scenes: int) -> list[float]:
    """See `probing.right_when_blind`: one question of every family about each of some scenes.

    Parameters
    ----------
    model : LlavaForConditionalGeneration
        Any attention kernel; the training's forward computes it (`packed.turn_hidden`).
    scenes : int
    """
    return right_when_blind(model, _asked(model, scenes))


def _asked(model, scenes: int) -> Iterator[Asked]:
    for number in range(scenes):
        scene = make_scene(PROBE_SEEDS + TRAINING_SEEDS + number)
        visual = project(model, encode_images(model, [scene]))
        turns = one_of_every_family(FAMILIES, Facts(scene), number)
        yield turns, lambda ids, layer, visual=visual: whole_image(model, visual, ids, layer)


def whole_image(model, visual: torch.Tensor, ids: torch.Tensor, layer: int) -> torch.Tensor:
    """Hidden states of turns about all 576 tokens of one image, blind from a layer on."""
    places, start = torch.arange(FIRST, FIRST + VISUAL)[None], torch.tensor([FIRST + VISUAL])
    return turn_hidden(model, visual, places, ids, start, blind_from=layer)
