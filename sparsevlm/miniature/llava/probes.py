"""Where a miniature looks: by layer, what a naming word attends to and when the picture is done.

Both probes are about the dense model. They tell which cuts can matter at all: a cut after the last
layer that still reads the picture costs nothing, whatever it drops.
"""

from __future__ import annotations

import numpy as np
import torch

from ..facts import Facts
from ..question_families import FAMILIES
from ..recipes import TRAINING_SEEDS
from ..scenes import GRID, Scene, make_scene
from ..vocabulary import BEFORE_IMAGE, IMAGE, encode
from .losses import pack_turns
from .packed import turn_hidden
from .vision import encode_images, pixel_tensor, project

PROBE_SEEDS = 10**9  # scenes of no training stage and of no benchmark
FIRST = len(BEFORE_IMAGE)
VISUAL = GRID * GRID
PROBE_SCENES = 12


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
    found += [(f"what shape is the {c} thing ?", 4, o) for c, o in facts.by_colour.items()]
    found += [(f"what letter is on the {c} card ?", 5, o) for c, o in facts.cards.items()]
    return [(question, word, scene.patches_of(obj)) for question, word, obj in found]


def _inputs(scene: Scene, question: str) -> dict:
    words = [*question.split(), "ASSISTANT", ":"]
    ids = [*encode(list(BEFORE_IMAGE)), *[IMAGE] * VISUAL, *encode(words)]
    return {"input_ids": torch.tensor([ids]), "pixel_values": pixel_tensor([scene])}


@torch.inference_mode()
def attention_on_target(model, scenes: int) -> dict[str, list[float]]:
    """Share of attention on the patches of the named object, by layer (the best head of each).

    Parameters
    ----------
    model : LlavaForConditionalGeneration
        With the attention kernel "eager", which alone hands out its weights.
    scenes : int
        One question per kind of naming and scene.

    Returns
    -------
    dict
        ``"naming word"`` and ``"last token"``: a mean per layer; ``"area"``: the mean share of the
        visual tokens that the object covers, which is what looking nowhere would give.
    """
    rows: dict[str, list] = {"naming word": [], "last token": [], "area": []}
    for number in range(scenes):
        scene = make_scene(PROBE_SEEDS + number)
        rng = np.random.default_rng(number)
        named = named_objects(scene)
        for index in rng.permutation(len(named))[:3]:
            question, word, patches = named[index]
            output = model(**_inputs(scene, question), output_attentions=True)
            maps = torch.stack(output.attentions)[:, 0]  # [layers, heads, queries, keys]
            on_target = maps[..., FIRST + patches].sum(-1)
            best = on_target.amax(1)  # [layers, queries]
            rows["naming word"].append(best[:, FIRST + VISUAL + word].tolist())
            rows["last token"].append(best[:, -1].tolist())
            rows["area"].append([len(patches) / VISUAL])
    return {name: np.mean(values, axis=0).round(3).tolist() for name, values in rows.items()}


@torch.inference_mode()
def accuracy_without_image_from(model, scenes: int) -> list[float]:
    """Share of answers that stay right when no text token sees the picture from a layer on.

    Parameters
    ----------
    model : LlavaForConditionalGeneration
        Any attention kernel; the training's forward computes it (`packed.turn_hidden`).
    scenes : int
        One question of every family per scene; an answer counts when every word of it, given the
        words before it, is the most likely one.

    Returns
    -------
    list of float
        Entry ``l``: accuracy when layers ``l`` and later see no visual token; the last entry, one
        more than there are layers, is the untouched model.
    """
    variants = len(model.model.language_model.layers) + 1
    right, count = np.zeros(variants), 0
    places = torch.arange(FIRST, FIRST + VISUAL)[None]
    start = torch.tensor([FIRST + VISUAL])
    for number in range(scenes):
        scene = make_scene(PROBE_SEEDS + TRAINING_SEEDS + number)
        visual = project(model, encode_images(model, [scene]))
        turns = _one_of_every_family(scene, number)
        ids, asked = pack_turns([turns], visual.device)
        _, turn, place = asked.nonzero(as_tuple=True)
        for layer in range(variants):
            hidden = turn_hidden(model, visual, places, ids, start, blind_from=layer)
            best = model.lm_head(hidden[0, turn, place]).argmax(-1)
            wrong = set(turn[best != ids[0, turn, place + 1]].tolist())
            right[layer] += len(turns) - len(wrong)
        count += len(turns)
    return (right / count).round(3).tolist()


def _one_of_every_family(scene: Scene, number: int) -> list[tuple[str, list[str], list[float]]]:
    """Turns as `losses.scene_turns` has them, with a weight on the words of the answer alone."""
    rng = np.random.default_rng((number, 3))
    turns = []
    for name, families in FAMILIES.items():
        for family in families:
            drafts = family(Facts(scene), rng)
            if drafts:
                draft = drafts[int(rng.integers(len(drafts)))]
                words = [*draft.question.split(), "ASSISTANT", ":"]
                answer = draft.answer.split()
                weights = [0.0] * len(words) + [1.0] * len(answer)
                turns.append((name, words + answer, weights))
    return turns
