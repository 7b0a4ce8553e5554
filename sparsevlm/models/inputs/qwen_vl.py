"""Inputs of Qwen2-VL and Qwen2.5-VL."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2VLImageProcessorPil

from sparsevlm.models.inputs.pictures import qwen_image_patches, qwen_video_patches
from sparsevlm.models.inputs.samples import QWEN_SYSTEM, Sample, expand, pad_batch, qwen_prompt

# Smallest and largest area after resizing, in pixels: the processors' own for images and frames.
IMAGE_PIXELS = (56 * 56, 28 * 28 * 1280)
FRAME_PIXELS = (128 * 28 * 28, 768 * 28 * 28)


def qwen_vl_inputs(
    config: Any,
    tokenizer: Any,
    samples: Sequence[Sample],
    *,
    image_pixels: tuple[int, int] = IMAGE_PIXELS,
    frame_pixels: tuple[int, int] = FRAME_PIXELS,
    system: str = QWEN_SYSTEM,
) -> dict[str, Tensor]:
    """Inputs of a `Qwen2VLForConditionalGeneration` or `Qwen2_5_VLForConditionalGeneration`.

    All given frames are used; choose them before. Frames are resized with Pillow, one by one,
    where the video processor of transformers resizes with torchvision; the layout is the same.

    Parameters
    ----------
    config
        Of the model.
    tokenizer
        Of the model, with ``<|image_pad|>`` and ``<|video_pad|>`` as placeholders.
    samples
        Questions, with an image, a video or neither.
    image_pixels, frame_pixels
        Smallest and largest area of a resized image, and of a resized frame. The number of visual
        tokens follows from it: an area of ``(patch_size * spatial_merge_size)^2`` is one token.
    system
        Text of the system turn.

    Returns
    -------
    dict
        ``input_ids``, ``attention_mask``, ``mm_token_type_ids`` (0 text, 1 image, 2 video)
        ``[batch, tokens]``; ``pixel_values`` ``[patches, values]`` and ``image_grid_thw``
        ``[images, 3]``; ``pixel_values_videos`` and ``video_grid_thw`` likewise; for Qwen2.5-VL
        with videos ``second_per_grid_ts`` ``[videos]``.

    Raises
    ------
    ValueError
        For frames of different sizes, and for a placeholder in a question.
    """
    tokens = {"image": config.image_token_id, "video": config.video_token_id, None: None}
    merged = config.vision_config.spatial_merge_size**2
    limits = {"image": image_pixels, "video": frame_pixels}
    rows, pixels, grids, seconds = [], {"image": [], "video": []}, {"image": [], "video": []}, []
    for sample in samples:
        kind, count, lead = sample.kind, 0, ""
        if kind is not None:
            processor = _processor(config.vision_config, limits[kind])
            if kind == "image":
                patches, grid = qwen_image_patches(sample.image, processor)
            else:
                patches, grid = qwen_video_patches(sample.video, processor)
                seconds.append(processor.temporal_patch_size / sample.fps)
            pixels[kind].append(patches)
            grids[kind].append(grid)
            count, lead = prod(grid) // merged, f"<|vision_start|><|{kind}_pad|><|vision_end|>"
        text = qwen_prompt(sample.conversation, lead, system)
        rows.append(expand(tokenizer, text, tokens[kind], count))
    inputs = pad_batch(tokenizer, rows)
    ids = inputs["input_ids"]
    inputs["mm_token_type_ids"] = (ids == tokens["image"]) + 2 * (ids == tokens["video"]).long()
    names = {"image": "pixel_values", "video": "pixel_values_videos"}
    for kind, name in names.items():
        if pixels[kind]:
            inputs[name] = torch.cat(pixels[kind])
            inputs[f"{kind}_grid_thw"] = torch.tensor(grids[kind])
    if seconds and config.model_type == "qwen2_5_vl":
        inputs["second_per_grid_ts"] = torch.tensor(seconds)
    return inputs


def _processor(vision: Any, limits: tuple[int, int]) -> Qwen2VLImageProcessorPil:
    return Qwen2VLImageProcessorPil(
        patch_size=vision.patch_size,
        temporal_patch_size=vision.temporal_patch_size,
        merge_size=vision.spatial_merge_size,
        size={"shortest_edge": limits[0], "longest_edge": limits[1]},
    )
