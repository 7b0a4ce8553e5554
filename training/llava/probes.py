"""Where the miniature LLaVA looks, and when it is done with the image (see `training.probing`)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.llava.prompts import builder
from sparsevlm.miniature.question_families import FAMILIES
from sparsevlm.miniature.scenes import GRID, make_scene
from sparsevlm.miniature.vocabulary import BEFORE_IMAGE
from training.llava.vision import encode_images, project
from training.packed import Places, blind_from, turn_hidden
from training.probing import (
    PROBE_SCENES,
    PROBE_SEEDS,
    Asked,
    one_of_every_family,
    scene_probes,
)
from training.recipes import TRAINING_SEEDS


def probes(model, scenes: int = PROBE_SCENES) -> dict:
    """Both probes (see `scene_probes`)."""
    asked = partial(_asked, model, scenes)
    return scene_probes(model, builder(model.config), make_scene, asked, scenes)


def _asked(model, scenes: int) -> Iterator[Asked]:
    for number in range(scenes):
        scene = make_scene(PROBE_SEEDS + TRAINING_SEEDS + number)
        visual = project(model, encode_images(model, [scene]))
        yield one_of_every_family(FAMILIES, Facts(scene), number), whole_image(model, visual)


def whole_image(model, visual: torch.Tensor):
    """Hidden states of turns about all tokens of one image, by ids and the first blind layer."""
    first, count = len(BEFORE_IMAGE), GRID * GRID
    places = Places(torch.arange(first, first + count)[None], torch.tensor([first + count]))
    return lambda ids, layer: turn_hidden(
        model, visual, ids, places, blind=blind_from(model, layer)
    )
