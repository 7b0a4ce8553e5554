"""Vision tower on whole scenes and on training windows, and its alignment with the words."""

from __future__ import annotations

import numpy as np
import torch

from sparsevlm.miniature.llava.prompts import PIXEL_MEAN, PIXEL_STD
from sparsevlm.miniature.scenes import GRID, HEIGHTS, SIDES, Scene
from sparsevlm.miniature.vocabulary import DEPICTED
from training.losses import object_words


def pixel_tensor(scenes: list[Scene]) -> torch.Tensor:
    """Normalized pixels, [scenes, 3, height, width], as the processor would give them."""
    pixels = torch.from_numpy(np.stack([s.pixels for s in scenes])).permute(0, 3, 1, 2)
    return (pixels.float() / 255 - PIXEL_MEAN) / PIXEL_STD


def encode_images(model, scenes: list[Scene]) -> torch.Tensor:
    """Output of the vision tower without the class token, [scenes, patches, hidden].

    The same as the tower's own forward on a whole scene; a window uses the rows of the position
    table that belong to its place in the 24 x 24 grid, so all rows are trained.
    """
    pixels = pixel_tensor(scenes).to(model.lm_head.weight.device)
    return tower_features(model.model.vision_tower, pixels, scenes)


def tower_features(tower: torch.nn.Module, pixels: torch.Tensor, scenes: list[Scene]):
    """Last layer of a CLIP tower without the class token, [scenes, patches, hidden].

    ``pixels`` [scenes, 3, height, width] are normalized for the tower and lie on its device; the
    scenes say where they are in the full grid (see `encode_images`).
    """
    embeddings = tower.embeddings
    table = embeddings.position_embedding.weight
    patches = embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
    grid = scenes[0].patch_objects.shape[0]
    rows = torch.tensor([s.origin[0] for s in scenes])[:, None] + torch.arange(grid)
    columns = torch.tensor([s.origin[1] for s in scenes])[:, None] + torch.arange(grid)
    places = (rows[:, :, None] * GRID + columns[:, None, :]).flatten(1)
    tokens = patches + table[1:][places.to(table.device)]
    start = (embeddings.class_embedding + table[0]).expand(len(scenes), 1, -1)
    hidden = tower.pre_layrnorm(torch.cat([start, tokens], dim=1))
    return tower.encoder(inputs_embeds=hidden).last_hidden_state[:, 1:]


def project(model, features: torch.Tensor) -> torch.Tensor:
    """The projector: vision features to visual tokens, [..., hidden]."""
    return model.model.multi_modal_projector(features)


def depicted_words(scenes: list[Scene]) -> torch.Tensor:
    """Which words each patch depicts, bool [scenes, patches, len(DEPICTED)].

    Those of `training.losses.object_words`, and for every patch its side and height.
    """
    grid = scenes[0].patch_objects.shape[0]
    target = np.stack([object_words(scene) for scene in scenes])
    thirds = np.arange(GRID) * 3 // GRID
    heights, sides = ([DEPICTED.index(word) for word in words] for words in (HEIGHTS, SIDES))
    patches = np.arange(grid * grid)
    for number, scene in enumerate(scenes):
        rows = np.repeat(thirds[scene.origin[0] : scene.origin[0] + grid], grid)
        columns = np.tile(thirds[scene.origin[1] : scene.origin[1] + grid], grid)
        target[number, patches, np.array(heights)[rows]] = True
        target[number, patches, np.array(sides)[columns]] = True
    return torch.from_numpy(target)
