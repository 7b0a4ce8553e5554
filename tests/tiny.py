"""A tiny random LLaVA: the real architecture, 24 x 24 visual tokens, 8 decoder layers."""

from __future__ import annotations

import torch
from spread import spread
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

IMAGE_TOKEN, PAD_TOKEN, NUM_VISUAL, NUM_LAYERS, VOCABULARY = 4, 0, 576, 8, 128
BEFORE = (1, 10, 11)


def tiny_llava(
    seed: int = 0,
    attention: str = "sdpa",
    vocabulary: int = VOCABULARY,
    image_token: int = IMAGE_TOKEN,
) -> LlavaForConditionalGeneration:
    """Random weights, spread wide enough that attention is not flat."""
    text = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=PAD_TOKEN,
    )
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=96,
        patch_size=4,
        projection_dim=32,
    )
    config = LlavaConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=image_token,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=NUM_VISUAL,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():  # vectors (the class embedding) come from the global generator
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration._from_config(config, attn_implementation=attention)
    return spread(model, seed)


def tiny_inputs(lengths: tuple[int, ...] = (6, 11, 9), seed: int = 0) -> dict[str, torch.Tensor]:
    """A left-padded batch: three tokens, the image, then a question of each length."""
    generator = torch.Generator().manual_seed(seed)
    prompts = padded(lengths, [IMAGE_TOKEN] * NUM_VISUAL, generator)
    return {**prompts, "pixel_values": torch.randn(len(lengths), 3, 96, 96, generator=generator)}


def padded(
    lengths: tuple[int, ...], visual: list[int], generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Ids and mask: three tokens, the visual ones, then random words; padded on the left."""
    ids, mask = [], []
    for length in lengths:
        question = torch.randint(5, VOCABULARY, (length,), generator=generator).tolist()
        row = [*BEFORE, *visual, *question]
        padding = max(lengths) - length
        ids.append([PAD_TOKEN] * padding + row)
        mask.append([0] * padding + [1] * len(row))
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def row(inputs: dict[str, torch.Tensor], index: int) -> dict[str, torch.Tensor]:
    """One sample of a batch, without its padding."""
    real = inputs["attention_mask"][index].bool()
    return {
        "input_ids": inputs["input_ids"][index][real][None],
        "attention_mask": inputs["attention_mask"][index][real][None],
        "pixel_values": inputs["pixel_values"][index][None],
    }
