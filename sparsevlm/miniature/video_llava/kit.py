"""The kit of the miniature Video-LLaVA (see `registry`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from PIL.Image import Image
from transformers import VideoLlavaForConditionalGeneration

from ...benchmarks.sample import Sample
from ..recipes import Recipe
from ..weights import load_miniature
from .clips import make_clip
from .losses import LOSSES
from .model import warm_start
from .probes import probes
from .processing import ClipProcessor
from .question_families import FAMILIES
from .questions import samples
from .recipes import RECIPES
from .vocabulary import prompt

__all__ = [
    "BENCHMARKS", "LOSSES", "RECIPES", "batch_inputs", "build_processor", "load", "media",
    "num_visual", "probes", "prompt", "samples", "starting_model",
]  # fmt: skip

BENCHMARKS = tuple(FAMILIES)
build_processor = ClipProcessor


def starting_model(recipe: Recipe, seed: int) -> VideoLlavaForConditionalGeneration:
    """The weights of the recipe's base where they fit (`model.warm_start`)."""
    return warm_start(load_miniature(recipe.base)[0], seed, recipe.num_layers)


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
