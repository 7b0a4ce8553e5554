"""The kit of the miniature LLaVA (see `registry`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from PIL.Image import Image
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from sparsevlm.benchmarks.sample import Sample
from sparsevlm.miniature.llava.model import PIXEL_MEAN, PIXEL_STD
from sparsevlm.miniature.question_families import FAMILIES
from sparsevlm.miniature.questions import benchmark_samples
from sparsevlm.miniature.scenes import GRID, PATCH, make_scene
from sparsevlm.miniature.vocabulary import build_tokenizer, prompt

__all__ = [
    "BENCHMARKS", "batch_inputs", "build_processor", "load", "media",
    "num_visual", "prompt", "samples",
]  # fmt: skip

BENCHMARKS = tuple(FAMILIES)
samples = benchmark_samples


def build_processor() -> LlavaProcessor:
    """Processor of the miniature: 96 x 96 pixels, 576 image tokens, word-level tokenizer.

    A picture of another size is resized to 96 x 96 (bicubic, aspect not kept).
    """
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    side = GRID * PATCH
    image_processor = CLIPImageProcessorPil(
        do_resize=True,
        size={"height": side, "width": side},
        do_center_crop=False,
        image_mean=[PIXEL_MEAN] * 3,
        image_std=[PIXEL_STD] * 3,
    )
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=build_tokenizer(),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
    )


def load(folder: Path) -> LlavaForConditionalGeneration:
    """The model of a folder, in float32 and evaluation mode."""
    return LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


def media(sample: Sample) -> list[Image]:
    """The sample's scene."""
    return [_draw(sample.seed)]


@lru_cache(maxsize=512)
def _draw(seed: int) -> Image:
    return make_scene(seed).image


def batch_inputs(processor: LlavaProcessor, batch: Sequence[Sample]) -> dict[str, torch.Tensor]:
    """Pictures and prompts of a batch as tensors, padded on the left."""
    return processor(
        images=[media(sample)[0] for sample in batch],
        text=[prompt(sample.question) for sample in batch],
        padding=True,
        return_tensors="pt",
    )


def num_visual(config: dict) -> int:
    """Patches of the picture, 576."""
    vision = config["vision_config"]
    return (vision["image_size"] // vision["patch_size"]) ** 2
