"""The kit of the miniature Mini-Gemini (see `registry`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from PIL.Image import Image
from transformers import BatchFeature

from sparsevlm.benchmarks.sample import Sample
from sparsevlm.miniature.mini_gemini.pictures import make_picture
from sparsevlm.miniature.mini_gemini.processing import MiniGeminiProcessor
from sparsevlm.miniature.mini_gemini.questions import samples
from sparsevlm.miniature.question_families import FAMILIES
from sparsevlm.miniature.vocabulary import prompt
from sparsevlm.models.mini_gemini import MiniGeminiForConditionalGeneration

__all__ = [
    "BENCHMARKS", "batch_inputs", "build_processor", "load", "media",
    "num_visual", "prompt", "samples",
]  # fmt: skip

BENCHMARKS = tuple(FAMILIES)
build_processor = MiniGeminiProcessor


def load(folder: Path) -> MiniGeminiForConditionalGeneration:
    """The model of a folder, in float32 and evaluation mode."""
    return MiniGeminiForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


def media(sample: Sample) -> list[Image]:
    """The sample's scene at 192 x 192 pixels, small cards included."""
    return [_draw(sample.seed)]


@lru_cache(maxsize=512)
def _draw(seed: int) -> Image:
    return make_picture(seed).image


def batch_inputs(processor: MiniGeminiProcessor, batch: Sequence[Sample]) -> BatchFeature:
    """Pictures of both resolutions and prompts of a batch as tensors, padded on the left."""
    return processor(
        images=[media(sample)[0] for sample in batch],
        text=[prompt(sample.question) for sample in batch],
    )


def num_visual(config: dict) -> int:
    """Patches of the low-resolution picture, 576."""
    vision = config["vision_config"]
    return (vision["image_size"] // vision["patch_size"]) ** 2
