"""Tiny random Mini-Gemini models: the real architecture.

`tiny_mini_gemini` is for pruning: 16 x 16 visual tokens, 8 decoder layers. `small_mini_gemini` is
for the architecture itself: 4 x 4 visual tokens, windows of 4 x 4 cells as different as 8 x 8.
"""

from __future__ import annotations

import torch
from tiny import PAD_TOKEN, VOCABULARY, padded
from transformers import CLIPVisionConfig, ConvNextConfig, GemmaConfig, LlamaConfig

from sparsevlm.models.mini_gemini.configuration import MiniGeminiConfig
from sparsevlm.models.mini_gemini.modeling import MiniGeminiForConditionalGeneration

IMAGE_TOKEN, NUM_VISUAL, NUM_LAYERS = 128, 256, 8
SIDE, SIDE_AUX = 64, 128


def tiny_mini_gemini(seed: int = 0, attention: str = "sdpa") -> MiniGeminiForConditionalGeneration:
    """Random weights, spread wide enough that attention is not flat."""
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=4,
        projection_dim=32,
    )
    config = MiniGeminiConfig(
        text_config=text_config(NUM_LAYERS),
        vision_config=vision,
        aux_config=aux_config(),
        image_token_id=IMAGE_TOKEN,
        image_size_aux=SIDE_AUX,
    )
    return randomised(config, seed, attention)


def tiny_mini_gemini_inputs(
    lengths: tuple[int, ...] = (6, 11, 9), seed: int = 0
) -> dict[str, torch.Tensor]:
    """A left-padded batch: three tokens, the image, then a question of each length."""
    return batch(lengths, NUM_VISUAL, (SIDE,), SIDE_AUX, seed)


def small_config(
    text: str = "llama", views: str = "base", aux_size: int | None = None
) -> MiniGeminiConfig:
    """4 x 4 visual tokens, or five times as many with ``views="hd"``; 16 cells per token."""
    hd = views == "hd"
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=28,
        patch_size=7,
        projection_dim=32,
    )
    return MiniGeminiConfig(
        text_config=text_config(2, text),
        vision_config=vision,
        aux_config=aux_config(),
        image_size_aux=aux_size or (128 if hd else 64),
        image_grid=2 if hd else 1,
        image_global=hd,
    )


def small_mini_gemini(
    text: str = "llama", views: str = "base", attention: str = "sdpa", seed: int = 0
) -> MiniGeminiForConditionalGeneration:
    """A random model of `small_config`."""
    return randomised(small_config(text, views), seed, attention)


def small_inputs(
    config: MiniGeminiConfig, lengths: tuple[int, ...] = (5, 9), seed: int = 0
) -> dict[str, torch.Tensor]:
    """A left-padded batch for a model of `small_config`."""
    views = (config.num_views,) if config.num_views > 1 else ()
    return batch(lengths, config.num_visual, (*views, 28), config.image_size_aux, seed)


def text_config(num_layers: int, kind: str = "llama") -> LlamaConfig | GemmaConfig:
    """Hidden size 64, 4 heads."""
    sizes = dict(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=num_layers,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=1024,
        bos_token_id=1, eos_token_id=None, pad_token_id=PAD_TOKEN,
    )  # fmt: skip
    return LlamaConfig(**sizes) if kind == "llama" else GemmaConfig(**sizes)


def aux_config() -> ConvNextConfig:
    """80 channels in four stages; DropPath is on in the configuration, as officially."""
    return ConvNextConfig(
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 2, 1],
        patch_size=4,
        drop_path_rate=0.5,
    )


def randomised(
    config: MiniGeminiConfig, seed: int, attention: str
) -> MiniGeminiForConditionalGeneration:
    """A float32 model with random weights, norms and biases included."""
    model = MiniGeminiForConditionalGeneration._from_config(config, attn_implementation=attention)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim > 1:
                spread = 0.6 if "embed" in name else 1.6
                fan_in = weight[0].numel() if "embed" not in name else 1
                weight.copy_(noise * spread / fan_in**0.5)
            elif name.endswith("bias"):
                weight.copy_(0.1 * noise)
            elif "layer_scale" in name or "norm" in name or ".0.weight" in name:
                # Around 1: ConvNeXt begins with 1e-6, which would hide its blocks.
                weight.copy_(1 + 0.2 * noise)
            else:
                weight.copy_(noise)
        if config.text_config.model_type == "gemma":
            _centre_gemma_norms(model)
    return model.float().eval()


def _centre_gemma_norms(model: MiniGeminiForConditionalGeneration) -> None:
    # Gemma's norms multiply by one more than their weight.
    for name, weight in model.model.language_model.named_parameters():
        if "norm" in name:
            weight -= 1


def batch(
    lengths: tuple[int, ...], num_visual: int, low: tuple[int, ...], aux: int, seed: int
) -> dict[str, torch.Tensor]:
    """Inputs; ``low`` is (side,) or (views, side)."""
    generator = torch.Generator().manual_seed(seed)
    prompts = padded(lengths, [IMAGE_TOKEN] * num_visual, generator)
    *views, side = low
    images = len(lengths)
    return {
        **prompts,
        "pixel_values": torch.randn(images, *views, 3, side, side, generator=generator),
        "pixel_values_aux": torch.randn(images, 3, aux, aux, generator=generator),
    }


def row(inputs: dict[str, torch.Tensor], index: int) -> dict[str, torch.Tensor]:
    """One sample of a batch, without its padding."""
    real = inputs["attention_mask"][index].bool()
    return {
        "input_ids": inputs["input_ids"][index][real][None],
        "attention_mask": inputs["attention_mask"][index][real][None],
        "pixel_values": inputs["pixel_values"][index][None],
        "pixel_values_aux": inputs["pixel_values_aux"][index][None],
    }
