"""Tiny random Qwen2-VL and Qwen2.5-VL, and a batch of two images and one video for them."""

from __future__ import annotations

from math import prod

import torch
from spread import spread
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

IMAGE_TOKEN, VIDEO_TOKEN, VISION_START, VISION_END, PAD_TOKEN = 4, 5, 6, 7, 0
NUM_LAYERS, VOCABULARY, PATCH, MERGE = 8, 128, 4, 2
BEFORE = (1, 10, 11, VISION_START)
# Patches (frames, rows, columns) of every row in turn; tokens after merging 2 x 2 patches.
GRIDS = ((1, 20, 24), (1, 24, 28), (4, 12, 14))
CELLS = ((10, 12), (12, 14), (4, 6, 7))
NUM_VISUAL = tuple(prod(cells) for cells in CELLS)
TEXT = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": NUM_LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 1024, "bos_token_id": 1, "eos_token_id": None,
    "pad_token_id": PAD_TOKEN,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
}  # fmt: skip
TOKENS = {
    "image_token_id": IMAGE_TOKEN, "video_token_id": VIDEO_TOKEN,
    "vision_start_token_id": VISION_START, "vision_end_token_id": VISION_END,
    "tie_word_embeddings": False,
}  # fmt: skip


def tiny_qwen2_vl(seed: int = 0, attention: str = "sdpa") -> Qwen2VLForConditionalGeneration:
    """Qwen2-VL with random weights, spread wide enough that attention is not flat."""
    vision = {
        "depth": 1, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2,
        "patch_size": PATCH, "spatial_merge_size": MERGE, "temporal_patch_size": 2,
    }  # fmt: skip
    config = Qwen2VLConfig(text_config=dict(TEXT), vision_config=vision, **TOKENS)
    kind = Qwen2VLForConditionalGeneration
    return spread(kind._from_config(config, attn_implementation=attention), seed)


def tiny_qwen2_5_vl(seed: int = 0, attention: str = "sdpa") -> Qwen2_5_VLForConditionalGeneration:
    """Qwen2.5-VL, with windows and one layer of full attention in its vision tower."""
    vision = {
        "depth": 2, "hidden_size": 32, "out_hidden_size": 64, "intermediate_size": 64,
        "num_heads": 2, "patch_size": PATCH, "spatial_merge_size": MERGE, "temporal_patch_size": 2,
        "window_size": 32, "fullatt_block_indexes": [1], "tokens_per_second": 2,
    }  # fmt: skip
    config = Qwen2_5_VLConfig(text_config=dict(TEXT), vision_config=vision, **TOKENS)
    kind = Qwen2_5_VLForConditionalGeneration
    return spread(kind._from_config(config, attn_implementation=attention), seed)


def tiny_qwen_inputs(
    lengths: tuple[int, ...] = (6, 11, 9), seed: int = 0
) -> dict[str, torch.Tensor]:
    """A left-padded batch of questions of each length; every third row asks about a video."""
    generator = torch.Generator().manual_seed(seed)
    rows, types, pixels = [], [], {1: [], 2: []}
    for number, length in enumerate(lengths):
        grid = GRIDS[number % 3]
        kind = 2 if grid[0] > 1 else 1
        question = torch.randint(8, VOCABULARY, (length,), generator=generator).tolist()
        count = NUM_VISUAL[number % 3]
        token = VIDEO_TOKEN if kind == 2 else IMAGE_TOKEN
        rows.append([*BEFORE, *[token] * count, VISION_END, *question])
        types.append([0] * len(BEFORE) + [kind] * count + [0] * (1 + length))
        patches = torch.randn(prod(grid), 3 * 2 * PATCH * PATCH, generator=generator)
        pixels[kind].append((patches, grid))
    inputs = {
        "input_ids": _pad(rows, PAD_TOKEN),
        "attention_mask": _pad([[1] * len(row) for row in rows], 0),
        "mm_token_type_ids": _pad(types, 0),
    }
    for kind, (name, grid_name) in KEYS.items():
        if pixels[kind]:
            inputs[name] = torch.cat([patches for patches, _ in pixels[kind]])
            inputs[grid_name] = torch.tensor([grid for _, grid in pixels[kind]])
    return inputs


KEYS = {1: ("pixel_values", "image_grid_thw"), 2: ("pixel_values_videos", "video_grid_thw")}


def qwen_row(inputs: dict[str, torch.Tensor], index: int) -> dict[str, torch.Tensor]:
    """One sample of a batch, without its padding."""
    real = inputs["attention_mask"][index].bool()
    found = {
        name: inputs[name][index][real][None]
        for name in ("input_ids", "attention_mask", "mm_token_type_ids")
    }
    for kind, (name, grid_name) in KEYS.items():
        if (found["mm_token_type_ids"] == kind).any():
            has = (inputs["mm_token_type_ids"] == kind).any(1)
            number = int(has[:index].sum())
            sizes = inputs[grid_name].prod(1).tolist()
            found[name] = inputs[name].split(sizes)[number]
            found[grid_name] = inputs[grid_name][number : number + 1]
    return found


def _pad(rows: list[list[int]], value: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[value] * (longest - len(row)) + row for row in rows])
