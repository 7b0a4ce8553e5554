"""Models of a shape with random weights, and their inputs.

For speed and memory, never for accuracy; nothing is downloaded. The sizes that differ between
models are in the shape; what all models of a family share is here.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Generator, Tensor, nn
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


def build(
    shape: Shape, device: str, dtype: torch.dtype, attention: str = "sdpa", seed: int = 0
) -> nn.Module:
    """Return the model in eval mode, its weights drawn on the device itself."""
    torch.manual_seed(seed)
    kind, config = _FAMILIES[shape.family](shape)
    with torch.device(device):
        model = kind._from_config(config, dtype=dtype, attn_implementation=attention)
    return model.eval()


def inputs(
    shape: Shape, device: str, dtype: torch.dtype, batch: int = 1, seed: int = 0
) -> dict[str, Tensor]:
    """Return the arguments of one call: prompts of one length, with random words and images."""
    values = _inputs(shape, batch, torch.Generator().manual_seed(seed))
    return {
        name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
        for name, value in values.items()
    }


def _inputs(shape: Shape, batch: int, generator: Generator) -> dict[str, Tensor]:
    def pixels(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    if shape.family == "llama":  # embeddings, as strong as those of words
        return {"inputs_embeds": pixels(batch, shape.tokens, shape.hidden)}
    size = (batch, shape.tokens)
    ids = torch.randint(_FIRST_WORD, shape.vocabulary, size, generator=generator)
    token, tower = VIDEO if shape.family == "video_llava" else IMAGE, shape.tower
    ids[:, shape.before : shape.before + shape.num_visual] = token
    found = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    image = (3, tower.image, tower.image)
    if shape.family == "video_llava":
        return {**found, "pixel_values_videos": pixels(batch, tower.frames, *image)}
    if shape.family == "qwen2_vl":  # flattened patches
        ids[:, shape.before - 1] = VISION_START
        ids[:, shape.before + shape.num_visual] = VISION_END
        return {
            **found,
            "mm_token_type_ids": (ids == IMAGE).long(),
            "pixel_values": pixels(batch * prod(shape.grid), 3 * 2 * 14 * 14),
            "image_grid_thw": torch.tensor([shape.grid] * batch),
        }
    found["pixel_values"] = pixels(batch, *image)
    if shape.family == "mini_gemini":  # the same image, larger
        side = _side_aux(shape)
        found["pixel_values_aux"] = pixels(batch, 3, side, side)
    return found


def _llama(shape: Shape) -> tuple[type, LlamaConfig]:
    """A decoder alone."""
    return LlamaForCausalLM, _text(shape)


def _llava(shape: Shape) -> tuple[type, LlavaConfig]:
    """LLaVA-1.5."""
    config = LlavaConfig(
        text_config=_text(shape), vision_config=_clip(shape), image_token_id=IMAGE,
        image_seq_length=shape.num_visual, tie_word_embeddings=False,
    )  # fmt: skip
    return LlavaForConditionalGeneration, config


def _video_llava(shape: Shape) -> tuple[type, VideoLlavaConfig]:
    """Video-LLaVA, both towers."""
    config = VideoLlavaConfig(
        text_config=_text(shape), vision_config=_clip(shape), image_token_index=IMAGE,
        video_token_index=VIDEO, image_seq_length=shape.tower.side**2,
        video_seq_length=shape.num_visual,
    )  # fmt: skip
    return VideoLlavaForConditionalGeneration, config


def _qwen2_vl(shape: Shape) -> tuple[type, Qwen2VLConfig]:
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


def _mini_gemini(shape: Shape) -> tuple[type, MiniGeminiConfig]:
    """Mini-Gemini; the second tower shrinks with the width of the decoder."""
    aux = convnext_large()
    aux.hidden_sizes = [max(8, size * shape.hidden // 4096) for size in aux.hidden_sizes]
    config = MiniGeminiConfig(
        text_config=_text(shape), vision_config=_clip(shape), aux_config=aux,
        image_token_id=IMAGE, image_size_aux=_side_aux(shape),
    )  # fmt: skip
    return MiniGeminiForConditionalGeneration, config


def _side_aux(shape: Shape) -> int:
    """The large image is 768 pixels wide where the small one is 336."""
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


_FAMILIES = {
    "llama": _llama, "llava": _llava, "video_llava": _video_llava, "qwen2_vl": _qwen2_vl,
    "mini_gemini": _mini_gemini,
}  # fmt: skip
