"""Both towers and the mining on whole images and on training windows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from sparsevlm.miniature.mini_gemini.images import SCALE
from sparsevlm.miniature.scenes import Scene
from sparsevlm.models.mini_gemini import MiniGeminiForConditionalGeneration
from sparsevlm.models.mini_gemini.vision import resized
from training.llava.vision import tower_features


def fine_pixels(scenes: list[Scene]) -> Tensor:
    """Normalized pixels of `make_image`, [scenes, 3, side, side], as the builder makes them."""
    pixels = torch.from_numpy(np.stack([s.pixels for s in scenes])).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(v)[:, None, None] for v in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
    return (pixels.float() / 255 - mean) / std


def coarse_pixels(fine: Tensor) -> Tensor:
    """The low-resolution images, made from the fine pixels as `low_pixels` makes them."""
    return resized(fine, [side // SCALE for side in fine.shape[-2:]])


def mined_features(model: MiniGeminiForConditionalGeneration, scenes: list[Scene]) -> Tensor:
    """Mined features before the projector, [scenes, patches, hidden].

    On whole images what `MiniGeminiModel.get_image_features` gives to its projector; on windows
    the tower uses the rows of its position table that belong to their places. The low-resolution
    tower gets no gradient: it comes trained and stays as it is.
    """
    inner = model.model
    fine = fine_pixels(scenes).to(model.lm_head.weight.device)
    with torch.no_grad():
        tokens = tower_features(inner.vision_tower, coarse_pixels(fine), scenes)
    return inner.mining(tokens, inner.vision_tower_aux.pyramid(fine))
