"""A tiny random LLaVA-OneVision, and a batch of two pictures and a video for it."""

from __future__ import annotations

import torch
from spread import spread
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    Qwen2Config,
    SiglipVisionConfig,
)

IMAGE_TOKEN, VIDEO_TOKEN, SIDE, NUM_LAYERS, VOCABULARY, FRAMES = 4, 5, 24, 8, 128, 10
BEFORE = (1, 10, 11)
PINPOINTS = [[24, 48], [48, 24], [48, 48]]
# Height and width of the pictures; the four tiles of the second are shrunk to two tiles' tokens.
SIZES, LEFT, TILES = ((24, 48), (48, 46)), ((6, 12), (8, 8)), (2, 4)
NUM_VISUAL = (*(36 + rows * (columns + 1) for rows, columns in LEFT), FRAMES * 9 + 1)


def tiny_llava_onevision(seed: int = 0, attention: str = "sdpa"):
    """Random weights; a picture is 6 x 6 tokens and two or four tiles of as many."""
    text = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=NUM_LAYERS,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024,
        bos_token_id=1, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    vision = SiglipVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        image_size=SIDE, patch_size=4, vision_use_head=False,
    )  # fmt: skip
    config = LlavaOnevisionConfig(
        text_config=text, vision_config=vision, image_token_index=IMAGE_TOKEN,
        video_token_index=VIDEO_TOKEN, image_grid_pinpoints=PINPOINTS,
        vision_aspect_ratio="anyres_max_2",
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        kind = LlavaOnevisionForConditionalGeneration
        return spread(kind._from_config(config, attn_implementation=attention), seed)


def tiny_llava_onevision_inputs(
    lengths: tuple[int, ...] = (6, 11, 9), seed: int = 0
) -> dict[str, torch.Tensor]:
    """A left-padded batch of questions of each length: two about pictures, one about a video."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for number, length in enumerate(lengths):
        question = torch.randint(6, VOCABULARY, (length,), generator=generator).tolist()
        token = VIDEO_TOKEN if number == 2 else IMAGE_TOKEN
        rows.append([*BEFORE, *[token] * NUM_VISUAL[number], *question])
    longest = max(map(len, rows))
    pixels = torch.randn(2, 5, 3, SIDE, SIDE, generator=generator)
    pixels[0, 3:] = 0
    return {
        "input_ids": torch.tensor([[0] * (longest - len(row)) + row for row in rows]),
        "attention_mask": torch.tensor(
            [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        ),
        "pixel_values": pixels,
        "image_sizes": torch.tensor(SIZES),
        "pixel_values_videos": torch.randn(1, FRAMES, 3, SIDE, SIDE, generator=generator),
    }


def onevision_row(inputs: dict[str, torch.Tensor], index: int) -> dict[str, torch.Tensor]:
    """One sample of a batch, without its padding."""
    real = inputs["attention_mask"][index].bool()
    found = {name: inputs[name][index][real][None] for name in ("input_ids", "attention_mask")}
    own = ("pixel_values_videos",) if index == 2 else ("pixel_values", "image_sizes")
    number = 0 if index == 2 else index
    return found | {name: inputs[name][number : number + 1] for name in own}
