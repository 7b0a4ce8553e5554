"""Configurations and inputs of the families that `shapes` knows, one pair of functions each.

The sizes that differ between models are in the shape; what all models of a family share is here.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Generator, Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    VideoLlavaConfig,
    VideoLlavaForConditionalGeneration,
)

from sparsevlm.models.mini_gemini.configuration import MiniGeminiConfig, convnext_large
from sparsevlm.models.mini_gemini.modeling import MiniGeminiForConditionalGeneration
from sparsevlm.speed.shapes import Shape

IMAGE, VIDEO, VISION_START, VISION_END = 4, 5, 6, 7
_FIRST_WORD = 8


def llama(shape: Shape) -> tuple[type, LlamaConfig]:
    """A decoder alone."""
    return LlamaForCausalLM, _text(shape)


def llama_inputs(shape: Shape, batch: int, generator: Generator) -> dict[str, Tensor]:
    """Random embeddings, as strong as those of words."""
    shape_ = (batch, shape.tokens, shape.hidden)
    return {"inputs_embeds": torch.randn(shape_, generator=generator)}


def llava(shape: Shape) -> tuple[type, LlavaConfig]:
    """LLaVA-1.5."""
    config = LlavaConfig(
        text_config=_text(shape), vision_config=_clip(shape), image_token_id=IMAGE,
        image_seq_length=shape.num_visual, tie_word_embeddings=False,
    )  # fmt: skip
    return LlavaForConditionalGeneration, config


def llava_inputs(shape: Shape, batch: int, generator: Generator) -> dict[str, Tensor]:
    """One image per row."""
    return {**_prompt(shape, batch, IMAGE, generator), "pixel_values": _pixels(
        generator, batch, 3, shape.tower.image, shape.tower.image)}  # fmt: skip


def video_llava(shape: Shape) -> tuple[type, VideoLlavaConfig]:
    """Video-LLaVA, both towers."""
    config = VideoLlavaConfig(
        text_config=_text(shape), vision_config=_clip(shape), image_token_index=IMAGE,
        video_token_index=VIDEO, image_seq_length=shape.tower.side**2,
        video_seq_length=shape.num_visual,
    )  # fmt: skip
    return VideoLlavaForConditionalGeneration, config


def video_llava_inputs(shape: Shape, batch: int, generator: Generator) -> dict[str, Tensor]:
    """One video per row."""
    tower = shape.tower
    pixels = _pixels(generator, batch, tower.frames, 3, tower.image, tower.image)
    return {**_prompt(shape, batch, VIDEO, generator), "pixel_values_videos": pixels}


def qwen2_vl(shape: Shape) -> tuple[type, Qwen2VLConfig]:
    """Qwen2-VL; time, row and column share the angles of a head as 16 to 24 to 24."""
    half = shape.head_dim // 2
    time = half // 4
    sections = [time, (half - time) // 2, half - time - (half - time) // 2]
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections}
    text = {**_sizes(shape), "vocab_size": shape.vocabulary, "rope_parameters": rope}
    tower = shape.tower
    vision = {
        "depth": tower.layers, "embed_dim": tower.hidden, "hidden_size": shape.hidden,
        "num_heads": tower.heads, "mlp_ratio": 4, "patch_size": 14, "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }  # fmt: skip
    config = Qwen2VLConfig(
        text_config=text, vision_config=vision, image_token_id=IMAGE, video_token_id=VIDEO,
        vision_start_token_id=VISION_START, vision_end_token_id=VISION_END,
        tie_word_embeddings=False,
    )  # fmt: skip
    return Qwen2VLForConditionalGeneration, config


def qwen2_vl_inputs(shape: Shape, batch: int, generator: Generator) -> dict[str, Tensor]:
    """One image per row, as flattened patches."""
    found = _prompt(shape, batch, IMAGE, generator)
    ids = found["input_ids"]
    ids[:, shape.before - 1] = VISION_START
    ids[:, shape.before + shape.num_visual] = VISION_END
    patches = batch * prod(shape.grid)
    return {
        **found,
        "mm_token_type_ids": (ids == IMAGE).long(),
        "pixel_values": _pixels(generator, patches, 3 * 2 * 14 * 14),
        "image_grid_thw": torch.tensor([shape.grid] * batch),
    }


def mini_gemini(shape: Shape) -> tuple[type, MiniGeminiConfig]:
    """Mini-Gemini; the second tower shrinks with the width of the decoder."""
    aux = convnext_large()
    aux.hidden_sizes = [max(8, size * shape.hidden // 4096) for size in aux.hidden_sizes]
    config = MiniGeminiConfig(
        text_config=_text(shape), vision_config=_clip(shape), aux_config=aux,
        image_token_id=IMAGE, image_size_aux=_side_aux(shape),
    )  # fmt: skip
    return MiniGeminiForConditionalGeneration, config


def mini_gemini_inputs(shape: Shape, batch: int, generator: Generator) -> dict[str, Tensor]:
    """One image per row, at two sizes."""
    side = _side_aux(shape)
    return {
        **llava_inputs(shape, batch, generator),
        "pixel_values_aux": _pixels(generator, batch, 3, side, side),
    }


def _side_aux(shape: Shape) -> int:
    """The large picture is 768 pixels wide where the small one is 336."""
    return MiniGeminiConfig.image_size_aux * shape.tower.image // 336


def _text(shape: Shape) -> LlamaConfig:
    return LlamaConfig(vocab_size=shape.vocabulary, **_sizes(shape))


def _sizes(shape: Shape) -> dict[str, object]:
    return {
        "hidden_size": shape.hidden, "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "max_position_embeddings": shape.tokens + 1024,
        "bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0,
    }  # fmt: skip


def _clip(shape: Shape) -> CLIPVisionConfig:
    tower = shape.tower
    return CLIPVisionConfig(
        hidden_size=tower.hidden, intermediate_size=tower.intermediate,
        num_hidden_layers=tower.layers, num_attention_heads=tower.heads, image_size=tower.image,
        patch_size=tower.patch, projection_dim=768,
    )  # fmt: skip


def _prompt(shape: Shape, batch: int, token: int, generator: Generator) -> dict[str, Tensor]:
    size = (batch, shape.tokens)
    ids = torch.randint(_FIRST_WORD, shape.vocabulary, size, generator=generator)
    ids[:, shape.before : shape.before + shape.num_visual] = token
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _pixels(generator: Generator, *size: int) -> Tensor:
    return torch.randn(size, generator=generator)
