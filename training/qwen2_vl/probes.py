"""Where the miniature Qwen2-VL looks, as `llava.probes` asks it of the miniature LLaVA."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.qwen2_vl.images import make_image
from sparsevlm.miniature.qwen2_vl.prompts import AFTER, BEFORE, prompt_ids
from sparsevlm.miniature.qwen2_vl.questions import FAMILIES
from sparsevlm.miniature.vocabulary import IMAGE
from training.llava.probes import named_objects
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
from training.qwen2_vl.packed import turn_hidden
from training.qwen2_vl.vision import image_patches, image_positions, merge, tower_features
from training.recipes import TRAINING_SEEDS

FIRST = len(BEFORE)


def probes(model) -> dict:
    """Both probes on `PROBE_SCENES` images; leaves the attention kernel at "eager"."""
    model.set_attn_implementation("eager")
    return {
        "scenes": PROBE_SCENES,
        "attention": attention_on_target(model, PROBE_SCENES),
        "without_image_from": accuracy_without_image_from(model, PROBE_SCENES),
    }


@torch.inference_mode()
def attention_on_target(model, scenes: int) -> dict[str, list[float]]:
    """Share of attention on the patches of the named object, by layer; see `llava.probes`."""
    return mean_looks(_looks(model, scenes))


def _looks(model, scenes: int) -> Iterator[Look]:
    for number in range(scenes):
        image = make_image(PROBE_SEEDS + number)
        count = image.patch_objects.size
        pixels, grid = image_patches([image])
        named = named_objects(image)
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
            best = best_head(output.attentions, FIRST + patches)
            yield best, FIRST + count + len(AFTER) + word, len(patches) / count


@torch.inference_mode()
def accuracy_without_image_from(model, scenes: int) -> list[float]:
    """See `probing.right_when_blind`: one question of every family about each of some images."""
    return right_when_blind(model, _asked(model, scenes))


def _asked(model, scenes: int) -> Iterator[Asked]:
    for number in range(scenes):
        image = make_image(PROBE_SEEDS + TRAINING_SEEDS + number)
        rows, columns = image.patch_objects.shape
        visual = merge(model, tower_features(model, [image]))[None]
        given = visual, image_positions(rows, columns), torch.tensor([FIRST + max(rows, columns)])

        def hidden(ids, layer, given=given):
            visual, places, start = given
            return turn_hidden(model, visual, places, ids, start, blind_from=layer)

        yield one_of_every_family(FAMILIES, Facts(image), number), hidden
