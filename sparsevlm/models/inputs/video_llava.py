"""Inputs of Video-LLaVA."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import VideoLlavaForConditionalGeneration

from sparsevlm.models.inputs.pictures import clip_pixels, sample_frames
from sparsevlm.models.inputs.samples import Sample, expand, pad_batch, vicuna_prompt


def image_key() -> str:
    """Name of the argument for images, which depends on the release of transformers."""
    known = inspect.signature(VideoLlavaForConditionalGeneration.forward).parameters
    return "pixel_values" if "pixel_values" in known else "pixel_values_images"


def video_llava_inputs(
    config: Any,
    tokenizer: Any,
    samples: Sequence[Sample],
    *,
    num_frames: int = 8,
    system: str = "",
) -> dict[str, Tensor]:
    """Inputs of a `VideoLlavaForConditionalGeneration`.

    The frames are resized with Pillow's antialiased bicubic filter and then normalised, as the
    converted processor does; the original code normalises first and interpolates bilinearly.

    Parameters
    ----------
    config
        Of the model.
    tokenizer
        Of the model, with ``<image>`` and ``<video>`` as placeholders.
    samples
        Questions, with an image, a video or neither.
    num_frames
        Frames chosen of every video (see `sample_frames`); 8 as in the original.
    system
        Sentence ahead of the conversation; none by default, as in the converted processor.

    Returns
    -------
    dict
        ``input_ids``, ``attention_mask`` ``[batch, tokens]``; with videos ``pixel_values_videos``
        ``[videos, frames, 3, side, side]``; with images their pixels ``[images, 3, side, side]``
        under the name that the installed transformers has for them.

    Raises
    ------
    ValueError
        For less than one frame, and for a placeholder in a question.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}")
    vision = config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    # The model drops the CLS token of an image, but keeps that of every frame.
    of_image = patches + (config.vision_feature_select_strategy == "full")
    counts = {"image": of_image, "video": num_frames * (patches + 1), None: 0}
    tokens = {"image": config.image_token_id, "video": config.video_token_id, None: None}
    rows, images, videos = [], [], []
    for sample in samples:
        kind = sample.kind
        text = vicuna_prompt(sample.conversation, f"<{kind}>\n" if kind else "", system)
        rows.append(expand(tokenizer, text, tokens[kind], counts[kind]))
        if kind == "image":
            images.append(sample.image)
        elif kind == "video":
            frames = sample_frames(sample.video, num_frames)
            videos.append(clip_pixels(frames, vision.image_size, pad=False))
    inputs = pad_batch(tokenizer, rows)
    if images:
        inputs[image_key()] = clip_pixels(images, vision.image_size, pad=False)
    if videos:
        inputs["pixel_values_videos"] = torch.stack(videos)
    return inputs
