"""Where the miniature Qwen2-VL looks, and when it is done with the image (`training.probing`)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.qwen2_vl.images import make_image
from sparsevlm.miniature.qwen2_vl.prompts import builder
from sparsevlm.miniature.qwen2_vl.questions import FAMILIES
from training.packed import Places, blind_from, turn_hidden
from training.probing import (
    PROBE_SCENES,
    PROBE_SEEDS,
    Asked,
    one_of_every_family,
    scene_probes,
)
from training.qwen2_vl.model import AROUND, BEFORE_IDS
from training.qwen2_vl.vision import image_positions, merge, tower_features
from training.recipes import TRAINING_SEEDS


def probes(model, scenes: int = PROBE_SCENES) -> dict:
    """Both probes (see `scene_probes`)."""
    asked = partial(_asked, model, scenes)
    return scene_probes(model, builder(model.config), make_image, asked, scenes)


def _asked(model, scenes: int) -> Iterator[Asked]:
    for number in range(scenes):
        scene = make_image(PROBE_SEEDS + TRAINING_SEEDS + number)
        rows, columns = scene.patch_objects.shape
        visual = merge(model, tower_features(model, [scene]))[None]
        start = torch.tensor([len(BEFORE_IDS) + max(rows, columns)])
        places = Places(image_positions(rows, columns), start)

        def hidden(ids, layer, visual=visual, places=places):
            return turn_hidden(model, visual, ids, places, blind=blind_from(model, layer), **AROUND)

        yield one_of_every_family(FAMILIES, Facts(scene), number), hidden
