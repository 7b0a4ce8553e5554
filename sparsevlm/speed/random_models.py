"""Models of a shape with random weights, and their inputs.

For speed and memory, never for accuracy; nothing is downloaded. The sizes that differ between
models are in the shape; what all models of a family share is here.
"""

from __future__ import annotations

from math import prod

import torch
import transformers as hf
from torch import Generator, Tensor, nn

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
    kind = _FAMILIES[shape.family]
    config = kind.config_class(**_config(shape))
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


def _config(shape: Shape) -> dict[str, object]:
    """Arguments of a configuration."""
    if shape.family == "llama":  # a decoder alone
        return _sizes(shape)
    if shape.family == "qwen2_vl":
        return _qwen2_vl(shape)
    tower = shape.tower
    clip = hf.CLIPVisionConfig(
        hidden_size=tower.hidden, intermediate_size=tower.intermediate,
        num_hidden_layers=tower.layers, num_attention_heads=tower.heads, image_size=tower.image,
        patch_size=tower.patch, projection_dim=768,
    )  # fmt: skip
    found = {"text_config": hf.LlamaConfig(**_sizes(shape)), "vision_config": clip}
    if shape.family == "video_llava":  # with both towers
        return {
            **found, "image_token_index": IMAGE, "video_token_index": VIDEO,
            "image_seq_length": shape.tower.side**2, "video_seq_length": shape.num_visual,
        }  # fmt: skip
    found["image_token_id"] = IMAGE
    if shape.family == "mini_gemini":  # the second tower shrinks with the width of the decoder
        aux = convnext_large()
        aux.hidden_sizes = [max(8, size * shape.hidden // 4096) for size in aux.hidden_sizes]
        return {**found, "aux_config": aux, "image_size_aux": _side_aux(shape)}
    return {**found, "image_seq_length": shape.num_visual, "tie_word_embeddings": False}


def _qwen2_vl(shape: Shape) -> dict[str, object]:
    """Time, row and column share the angles of a head as 16 to 24 to 24."""
    half = shape.head_dim // 2
    time = half // 4
    sections = [time, (half - time) // 2, half - time - (half - time) // 2]
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections}
    tower = shape.tower
    vision = {
        "depth": tower.layers, "embed_dim": tower.hidden, "hidden_size": shape.hidden,
        "num_heads": tower.heads, "mlp_ratio": 4, "patch_size": 14, "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }  # fmt: skip
    return {
        "text_config": {**_sizes(shape), "rope_parameters": rope}, "vision_config": vision,
        "image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": VISION_START,
        "vision_end_token_id": VISION_END, "tie_word_embeddings": False,
    }  # fmt: skip


def _side_aux(shape: Shape) -> int:
    """The large image is 768 pixels wide where the small one is 336."""
    return MiniGeminiConfig.image_size_aux * shape.tower.image // 336


def _sizes(shape: Shape) -> dict[str, object]:
    return {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden, "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "max_position_embeddings": shape.tokens + 1024,
        "bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0,
    }  # fmt: skip


_FAMILIES = {
    "llama": hf.LlamaForCausalLM,
    "llava": hf.LlavaForConditionalGeneration,
    "video_llava": hf.VideoLlavaForConditionalGeneration,
    "qwen2_vl": hf.Qwen2VLForConditionalGeneration,
    "mini_gemini": MiniGeminiForConditionalGeneration,
}
