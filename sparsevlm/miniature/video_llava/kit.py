"""The kit of the miniature Video-LLaVA (see `registry`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from PIL.Image import Image
from transformers import VideoLlavaForConditionalGeneration

from sparsevlm.benchmarks.sample import Sample
from sparsevlm.miniature.video_llava.clips import make_clip
from sparsevlm.miniature.video_llava.processing import ClipProcessor
from sparsevlm.miniature.video_llava.question_families import FAMILIES
from sparsevlm.miniature.video_llava.questions import samples
from sparsevlm.miniature.video_llava.vocabulary import prompt

__all__ = [
    "BENCHMARKS", "batch_inputs", "build_processor", "load", "media",
    "num_visual", "prompt", "samples",
]  # fmt: skip

BENCHMARKS = tuple(FAMILIES)
build_processor = ClipProcessor


def load(folder: Path) -> VideoLlavaForConditionalGeneration:
    """The model of a folder, in float32 and evaluation mode."""
    return VideoLlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


def media(sample: Sample) -> list[Image]:
    """The frames of the sample's clip."""
    return list(_draw(sample.seed))


@lru_cache(maxsize=512)
def _draw(seed: int) -> tuple[Image, ...]:
    return tuple(make_clip(seed).frames)


def batch_inputs(processor: ClipProcessor, batch: Sequence[Sample]) -> dict[str, torch.Tensor]:
    """Clips and prompts of a batch as tensors, padded on the left."""
    return processor(
        videos=[media(sample) for sample in batch],
        text=[prompt(sample.question) for sample in batch],
    )


def num_visual(config: dict) -> int:
    """Tokens of a clip: 8 frames of 256 patches and a class token, 2056."""
    return config["video_seq_length"]
