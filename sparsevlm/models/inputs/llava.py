"""Inputs of LLaVA-1.5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from sparsevlm.models.inputs.pictures import clip_pixels
from sparsevlm.models.inputs.samples import VICUNA_SYSTEM, Sample, expand, pad_batch, vicuna_prompt


def llava_inputs(
    config: Any,
    tokenizer: Any,
    samples: Sequence[Sample],
    *,
    pad_to_square: bool = True,
    system: str = VICUNA_SYSTEM,
) -> dict[str, Tensor]:
    """Inputs of a `LlavaForConditionalGeneration`, as LLaVA-1.5's own scripts build them.

    The converted processor of the Hub differs: it cuts the middle out of a picture instead of
    padding it, and its chat template leaves the system sentence out.

    Parameters
    ----------
    config
        Of the model.
    tokenizer
        Of the model, with ``<image>`` as the placeholder.
    samples
        Questions, with an image or without.
    pad_to_square
        Pad with CLIP's mean colour; ``False`` cuts the middle out.
    system
        Sentence ahead of the conversation.

    Returns
    -------
    dict
        ``input_ids``, ``attention_mask`` ``[batch, tokens]``; with images also ``pixel_values``
        ``[images, 3, side, side]``.

    Raises
    ------
    ValueError
        For a video, and for a placeholder in a question.
    """
    vision = config.vision_config
    count = (vision.image_size // vision.patch_size) ** 2
    count += config.vision_feature_select_strategy == "full"
    rows, pictures = [], []
    for sample in samples:
        if sample.kind == "video":
            raise ValueError("LLaVA takes images only; use Video-LLaVA or Qwen-VL for a video")
        has = sample.kind == "image"
        text = vicuna_prompt(sample.conversation, "<image>\n" if has else "", system)
        rows.append(expand(tokenizer, text, config.image_token_id if has else None, count))
        pictures += [sample.image] if has else []
    inputs = pad_batch(tokenizer, rows)
    if pictures:
        inputs["pixel_values"] = clip_pixels(pictures, vision.image_size, pad=pad_to_square)
    return inputs
