"""What the probes of all miniatures share: where words look, and when the image is done.

Both probes are about the dense model. They tell which stages can matter at all: one after the last
layer that still reads the image costs nothing, whatever it drops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from sparsevlm.miniature import vocabulary
from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.question_families import Draft
from sparsevlm.miniature.scenes import Scene
from sparsevlm.models.prompt_builder import PromptBuilder
from training.turns import Turn, answer_turn, asked_words, pack_turns

PROBE_SEEDS = 10**9  # images of no training stage and of no benchmark
PROBE_SCENES = 12

# The best head's attention on an object, [layers, queries], by whom: the naming word's place among
# the queries; and the share of the visual tokens that the object covers.
Look = tuple[Tensor, int, float]
# The turns about an image, and their hidden states by ids and the layer from which on they are
# blind, [1, turns, words, hidden].
Asked = tuple[list[Turn], Callable[[Tensor, int], Tensor]]


Named = tuple[
    str, int, np.ndarray
]  # a question, the place of its naming word, the object's patches


def named_objects(scene: Scene) -> list[Named]:
    """Questions that name one object of a scene."""
    facts = Facts(scene)
    found = [(f"what color is the {k} ?", 4, o) for k, o in facts.by_kind.items()]
    found += [(f"what shape is the {c} thing ?", 4, o) for c, o in facts.by_color.items()]
    found += [(f"what letter is on the {c} card ?", 5, o) for c, o in facts.cards.items()]
    return [(question, word, scene.patches_of(obj)) for question, word, obj in found]


@torch.inference_mode()
def attention_on_target(
    model, builder: PromptBuilder, images: Iterable[tuple[Image, list[Named]]]
) -> dict[str, list[float]]:
    """Share of attention on the patches of the named object, by layer, of the best head.

    Parameters
    ----------
    model : PreTrainedModel
        With the attention kernel "eager", which alone hands out its weights.
    builder : PromptBuilder
        Of the model.
    images : iterable
        An image and the questions about it; three of them are asked.
    """
    return mean_looks(_looks(model, builder, images))


def _looks(model, builder, images) -> Iterator[Look]:
    for number, (image, named) in enumerate(images):
        for index in np.random.default_rng(number).permutation(len(named))[:3]:
            question, word, patches = named[index]
            inputs = builder.inputs([question], [[image]])
            ids = inputs["input_ids"][0]
            visual = (ids == model.config.image_token_id).nonzero()[:, 0]
            attentions = model(**inputs, output_attentions=True).attentions
            best = torch.stack(attentions)[:, 0][..., int(visual[0]) + patches].sum(-1).amax(1)
            words = len(asked_words(question))
            yield best, len(ids) - words + word, len(patches) / len(visual)


def mean_looks(looks: Iterable[Look]) -> dict[str, list[float]]:
    """Share of attention on the visual tokens of a named object, by layer, mean over looks.

    Returns
    -------
    dict
        ``"naming word"`` and ``"last token"``: a mean per layer; ``"area"``: the mean share of the
        visual tokens that the object covers, which is what looking nowhere would give.
    """
    rows: dict[str, list] = {"naming word": [], "last token": [], "area": []}
    for best, word, area in looks:
        rows["naming word"].append(best[:, word].tolist())
        rows["last token"].append(best[:, -1].tolist())
        rows["area"].append([area])
    return {name: np.mean(values, axis=0).round(3).tolist() for name, values in rows.items()}


@torch.inference_mode()
def right_when_blind(
    model,
    images: Iterable[Asked],
    encode: Callable[[list[str]], list[int]] = vocabulary.encode,
) -> list[float]:
    """Share of answers that stay right when no text token sees the image from a layer on.

    An answer counts when every word of it, given the words before it, is the most likely one.

    Returns
    -------
    list of float
        Entry ``l``: accuracy when layers ``l`` and later see no visual token; the last entry, one
        more than there are layers, is the untouched model.
    """
    variants = len(model.model.language_model.layers) + 1
    right, count = np.zeros(variants), 0
    for turns, hidden in images:
        ids, asked = pack_turns([turns], model.lm_head.weight.device, encode)
        _, turn, place = asked.nonzero(as_tuple=True)
        for layer in range(variants):
            best = model.lm_head(hidden(ids, layer)[0, turn, place]).argmax(-1)
            wrong = set(turn[best != ids[0, turn, place + 1]].tolist())
            right[layer] += len(turns) - len(wrong)
        count += len(turns)
    return (right / count).round(3).tolist()


def one_of_every_family(
    families: Mapping[str, Sequence[Callable[..., list[Draft] | Draft | None]]], facts, number: int
) -> list[Turn]:
    """A question of every family about one image; those that it cannot carry are left out.

    A family gives one draft, or several that are judged together; of these one is drawn.
    """
    rng = np.random.default_rng((number, 3))
    turns = []
    for name, group in families.items():
        for family in group:
            if made := family(facts, rng):
                drafts = made if isinstance(made, list) else [made]
                draft = drafts[int(rng.integers(len(drafts)))]
                turns.append(answer_turn(name, draft.question, draft.answer))
    return turns


def scene_probes(
    model, builder, draw: Callable[[int], Scene], asked: Callable[[], Iterable[Asked]], scenes: int
) -> dict:
    """Return both probes of a model of scenes; it is left with the attention kernel "eager".

    Parameters
    ----------
    model, builder
        The miniature and its prompt builder.
    draw : seed -> Scene
        The scenes in which objects are named.
    asked : () -> iterable of Asked
        What is asked of the model with the image hidden from some layer on.
    scenes : int
        How many of each.
    """
    model.set_attn_implementation("eager")
    seen = (draw(PROBE_SEEDS + number) for number in range(scenes))
    images = ((scene.image, named_objects(scene)) for scene in seen)
    return {
        "scenes": scenes,
        "attention": attention_on_target(model, builder, images),
        "without_image_from": right_when_blind(model, asked()),
    }
