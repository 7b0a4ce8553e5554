"""The kit of the miniature Qwen2-VL (see `registry`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from PIL.Image import Image
from transformers import Qwen2VLForConditionalGeneration

from sparsevlm.benchmarks.sample import Sample
from sparsevlm.miniature.qwen2_vl.pictures import NOMINAL, make_picture
from sparsevlm.miniature.qwen2_vl.processing import MiniatureProcessor as build_processor
from sparsevlm.miniature.qwen2_vl.prompts import prompt
from sparsevlm.miniature.qwen2_vl.questions import FAMILIES
from sparsevlm.miniature.qwen2_vl.questions import benchmark_samples as samples

__all__ = [
    "BENCHMARKS", "batch_inputs", "build_processor", "load", "media",
    "num_visual", "prompt", "samples",
]  # fmt: skip

BENCHMARKS = tuple(FAMILIES)


def load(folder: Path) -> Qwen2VLForConditionalGeneration:
    """The model of a folder, in float32 and evaluation mode."""
    return Qwen2VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


def media(sample: Sample) -> list[Image]:
    """The sample's picture."""
    return [_draw(sample.seed)]


@lru_cache(maxsize=512)
def _draw(seed: int) -> Image:
    return make_picture(seed).image


def batch_inputs(processor: build_processor, batch: Sequence[Sample]) -> dict[str, torch.Tensor]:
    """Pictures and prompts of a batch as tensors, padded on the left."""
    images = [media(sample)[0] for sample in batch]
    return processor(images, [sample.question for sample in batch])


def num_visual(config: dict) -> int:
    """Visual tokens of the nominal picture, 36 x 36 patches; the benchmarks' have 1230 to 1410.

    Budgets are counted on it: a schedule made for it keeps the same number of tokens of every
    picture, so a larger picture has a slightly larger mean over the layers, and the cells record
    what was really kept.
    """
    return NOMINAL**2 // config["vision_config"]["spatial_merge_size"] ** 2
