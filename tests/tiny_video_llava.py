"""A tiny random Video-LLaVA, and a batch of two videos and one image for it."""

from __future__ import annotations

import torch
from spread import spread
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    VideoLlavaConfig,
    VideoLlavaForConditionalGeneration,
)

from sparsevlm.models.prompts.video_llava import image_key

IMAGE_TOKEN, VIDEO_TOKEN, PAD_TOKEN, NUM_LAYERS, VOCABULARY = 4, 5, 0, 8, 128
FRAMES, SIDE, PATCH = 4, 6, 4
BEFORE = (1, 10, 11)
# Frames keep their CLS token, images do not.
NUM_VIDEO, NUM_IMAGE = FRAMES * (SIDE * SIDE + 1), SIDE * SIDE
KINDS = ("video", "image", "video")


def tiny_video_llava(seed: int = 0, attention: str = "sdpa") -> VideoLlavaForConditionalGeneration:
    """Random weights, spread wide enough that attention is not flat."""
    text = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=NUM_LAYERS,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024,
        bos_token_id=1, eos_token_id=None, pad_token_id=PAD_TOKEN,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        image_size=SIDE * PATCH, patch_size=PATCH, projection_dim=32,
    )  # fmt: skip
    config = VideoLlavaConfig(
        text_config=text, vision_config=vision, image_token_index=IMAGE_TOKEN,
        video_token_index=VIDEO_TOKEN, image_seq_length=NUM_IMAGE, video_seq_length=NUM_VIDEO,
    )  # fmt: skip
    kind = VideoLlavaForConditionalGeneration
    return spread(kind._from_config(config, attn_implementation=attention), seed)


def tiny_video_inputs(
    lengths: tuple[int, ...] = (6, 11, 9), seed: int = 0, kinds: tuple[str, ...] = KINDS
) -> dict[str, torch.Tensor]:
    """A left-padded batch of questions of each length, about a video or an image in turn."""
    generator = torch.Generator().manual_seed(seed)
    rows, pixels = [], {"image": [], "video": []}
    for number, length in enumerate(lengths):
        kind = kinds[number % len(kinds)]
        token, count = (VIDEO_TOKEN, NUM_VIDEO) if kind == "video" else (IMAGE_TOKEN, NUM_IMAGE)
        question = torch.randint(8, VOCABULARY, (length,), generator=generator).tolist()
        rows.append([*BEFORE, *[token] * count, *question])
        shape = (FRAMES,) if kind == "video" else ()
        size = (*shape, 3, SIDE * PATCH, SIDE * PATCH)
        pixels[kind].append(torch.randn(size, generator=generator))
    longest = max(map(len, rows))
    inputs = {
        "input_ids": torch.tensor([[PAD_TOKEN] * (longest - len(row)) + row for row in rows]),
        "attention_mask": torch.tensor(
            [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        ),
    }
    for kind, name in KEYS.items():
        if pixels[kind]:
            inputs[name] = torch.stack(pixels[kind])
    return inputs


# The argument for images has another name in older releases of transformers.
KEYS = {"image": image_key(), "video": "pixel_values_videos"}
TOKENS = {"image": IMAGE_TOKEN, "video": VIDEO_TOKEN}


def video_row(inputs: dict[str, torch.Tensor], index: int) -> dict[str, torch.Tensor]:
    """One sample of a batch, without its padding."""
    real = inputs["attention_mask"][index].bool()
    found = {name: inputs[name][index][real][None] for name in ("input_ids", "attention_mask")}
    for kind, name in KEYS.items():
        if (found["input_ids"] == TOKENS[kind]).any():
            has = (inputs["input_ids"] == TOKENS[kind]).any(1)
            number = int(has[:index].sum())
            found[name] = inputs[name][number : number + 1]
    return found
