"""Where the miniature Qwen2-VL looks, as `llava.probes` asks it of the miniature LLaVA."""

from __future__ import annotations

import numpy as np
import torch

from ..facts import Facts
from ..llava.losses import pack_turns
from ..llava.probes import PROBE_SCENES, PROBE_SEEDS, named_objects
from ..recipes import TRAINING_SEEDS
from ..vocabulary import IMAGE
from .packed import turn_hidden
from .pictures import make_picture
from .prompts import AFTER, BEFORE, prompt_ids
from .questions import FAMILIES
from .vision import merge, picture_patches, picture_positions, tower_features

FIRST = len(BEFORE)


def probes(model) -> dict:
    """Both probes on `PROBE_SCENES` pictures; leaves the attention kernel at "eager"."""
    model.set_attn_implementation("eager")
    return {
        "scenes": PROBE_SCENES,
        "attention": attention_on_target(model, PROBE_SCENES),
        "without_image_from": accuracy_without_image_from(model, PROBE_SCENES),
    }


@torch.inference_mode()
def attention_on_target(model, scenes: int) -> dict[str, list[float]]:
    """Share of attention on the patches of the named object, by layer; see `llava.probes`."""
    rows: dict[str, list] = {"naming word": [], "last token": [], "area": []}
    for number in range(scenes):
        picture = make_picture(PROBE_SEEDS + number)
        count = picture.patch_objects.size
        pixels, grid = picture_patches([picture])
        named = named_objects(picture)
        for index in np.random.default_rng(number).permutation(len(named))[:3]:
            question, word, patches = named[index]
            ids = torch.tensor([prompt_ids(question, count)])
            output = model(
                input_ids=ids,
                mm_token_type_ids=(ids == IMAGE).long(),
                pixel_values=pixels,
                image_grid_thw=grid,
                output_attentions=True,
            )
            maps = torch.stack(output.attentions)[:, 0]  # [layers, heads, queries, keys]
            best = maps[..., FIRST + patches].sum(-1).amax(1)  # [layers, queries]
            rows["naming word"].append(best[:, FIRST + count + len(AFTER) + word].tolist())
            rows["last token"].append(best[:, -1].tolist())
            rows["area"].append([len(patches) / count])
    return {name: np.mean(values, axis=0).round(3).tolist() for name, values in rows.items()}


@torch.inference_mode()
def accuracy_without_image_from(model, scenes: int) -> list[float]:
    """Answers that stay right when no text sees the picture from a layer on; see `llava.probes`."""
    variants = len(model.model.language_model.layers) + 1
    right, count = np.zeros(variants), 0
    for number in range(scenes):
        picture = make_picture(PROBE_SEEDS + TRAINING_SEEDS + number)
        rows, columns = picture.patch_objects.shape
        visual = merge(model, tower_features(model, [picture]))[None]
        places = picture_positions(rows, columns)
        start = torch.tensor([FIRST + max(rows, columns)])
        turns = _one_of_every_family(picture, number)
        ids, asked = pack_turns([turns], visual.device)
        _, turn, place = asked.nonzero(as_tuple=True)
        for layer in range(variants):
            hidden = turn_hidden(model, visual, places, ids, start, blind_from=layer)
            best = model.lm_head(hidden[0, turn, place]).argmax(-1)
            wrong = set(turn[best != ids[0, turn, place + 1]].tolist())
            right[layer] += len(turns) - len(wrong)
        count += len(turns)
    return (right / count).round(3).tolist()


def _one_of_every_family(picture, number: int) -> list[tuple[str, list[str], list[float]]]:
    """Turns as `losses.picture_turns` has them, with a weight on the answer alone."""
    rng = np.random.default_rng((number, 3))
    turns = []
    for name, families in FAMILIES.items():
        for family in families:
            drafts = family(Facts(picture), rng)
            if drafts:
                draft = drafts[int(rng.integers(len(drafts)))]
                words = [*draft.question.split(), "ASSISTANT", ":", draft.answer]
                turns.append((name, words, [0.0] * (len(words) - 1) + [1.0]))
    return turns
