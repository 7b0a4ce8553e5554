"""A tiny random LLaVA-NeXT, and a batch of three pictures of different shapes for it."""

from __future__ import annotations

import torch
from spread import spread
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
)

IMAGE_TOKEN, SIDE, NUM_LAYERS, VOCABULARY = 4, 24, 8, 128
BEFORE = (1, 10, 11)
PINPOINTS = [[24, 48], [48, 24], [48, 48]]
# Height and width of every row in turn, and what is left of its tiles, in tokens.
SIZES = ((24, 48), (48, 36), (40, 20))
LEFT = ((6, 12), (12, 10), (12, 6))
NUM_VISUAL = tuple(36 + rows * (columns + 1) for rows, columns in LEFT)  # 114, 168, 120
TILES = (2, 4, 2)


def tiny_llava_next(seed: int = 0, attention: str = "sdpa") -> LlavaNextForConditionalGeneration:
    """Random weights; a picture is 6 x 6 tokens and two or four tiles of as many."""
    text = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=NUM_LAYERS,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024,
        bos_token_id=1, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        image_size=SIDE, patch_size=4, projection_dim=32,
    )  # fmt: skip
    config = LlavaNextConfig(
        text_config=text, vision_config=vision, image_token_index=IMAGE_TOKEN,
        vision_feature_layer=-1, image_grid_pinpoints=PINPOINTS,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        kind = LlavaNextForConditionalGeneration
        return spread(kind._from_config(config, attn_implementation=attention), seed)


def tiny_llava_next_inputs(
    lengths: tuple[int, ...] = (6, 11, 9), seed: int = 0
) -> dict[str, torch.Tensor]:
    """A left-padded batch of questions of each length, each about a picture of its own."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for number, length in enumerate(lengths):
        question = torch.randint(5, VOCABULARY, (length,), generator=generator).tolist()
        rows.append([*BEFORE, *[IMAGE_TOKEN] * NUM_VISUAL[number % 3], *question])
    longest = max(map(len, rows))
    pixels = torch.randn(len(rows), 5, 3, SIDE, SIDE, generator=generator)
    for number in range(len(rows)):
        pixels[number, 1 + TILES[number % 3] :] = 0
    return {
        "input_ids": torch.tensor([[0] * (longest - len(row)) + row for row in rows]),
        "attention_mask": torch.tensor(
            [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        ),
        "pixel_values": pixels,
        "image_sizes": torch.tensor([SIZES[number % 3] for number in range(len(rows))]),
    }
