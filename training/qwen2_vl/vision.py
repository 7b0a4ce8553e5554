"""Images as the tower takes them, and what their visual tokens depict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sparsevlm.miniature.llava.prompts import PIXEL_MEAN, PIXEL_STD
from sparsevlm.miniature.scenes import Scene
from training.losses import object_words
from training.qwen2_vl.model import BEFORE_IDS, PATCH, TIME


def image_patches(scenes: Sequence[Scene]) -> tuple[torch.Tensor, torch.Tensor]:
    """``pixel_values`` [patches of all images, 96] and ``image_grid_thw`` [images, 3].

    The same as from the miniature's prompt builder (`qwen2_vl.prompts`), in a tenth of the time:
    images that need no resizing, a patch in the order channel, frame, row, column.
    """
    patches, grids = [], []
    for scene in scenes:
        rows, columns = scene.patch_objects.shape
        pixels = torch.from_numpy(scene.pixels).view(rows, PATCH, columns, PATCH, 3)
        pixels = pixels.permute(0, 2, 4, 1, 3)[:, :, :, None].expand(-1, -1, -1, TIME, -1, -1)
        patches.append(pixels.flatten(2).flatten(0, 1))
        grids.append((1, rows, columns))
    normalized = (torch.cat(patches).float() / 255 - PIXEL_MEAN) / PIXEL_STD
    return normalized, torch.tensor(grids)


def image_positions(rows: int, columns: int) -> torch.Tensor:
    """Positions of a whole image's tokens in time, rows and columns, long [3, 1, tokens]."""
    places = torch.full((3, 1, rows * columns), len(BEFORE_IDS))
    places[1, 0] += torch.arange(rows).repeat_interleave(columns)
    places[2, 0] += torch.arange(columns).repeat(rows)
    return places


def tower_features(model, scenes: Sequence[Scene]) -> torch.Tensor:
    """Output of the tower before the merger, [patches of all images, hidden]."""
    pixels, grids = image_patches(scenes)
    device = model.lm_head.weight.device
    return model.model.visual(pixels.to(device), grid_thw=grids.to(device)).last_hidden_state


def merge(model, features: torch.Tensor) -> torch.Tensor:
    """The merger: tower features to visual tokens, [..., hidden]."""
    merged = model.model.visual.merger(features.reshape(-1, features.shape[-1]))
    return merged.view(*features.shape[:-1], -1)


def depicted_words(scenes: Sequence[Scene]) -> torch.Tensor:
    """`losses.object_words` of all images, bool [patches of all images, len(DEPICTED)]."""
    return torch.from_numpy(np.concatenate([object_words(scene) for scene in scenes]))
