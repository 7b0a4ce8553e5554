"""Everything that training needs to know of this architecture (see `training.registry`)."""

from __future__ import annotations

from transformers import Qwen2VLForConditionalGeneration

from sparsevlm.miniature.qwen2_vl.model import build_model, take_decoder
from sparsevlm.miniature.weights import load_miniature
from training.qwen2_vl.losses import LOSSES
from training.qwen2_vl.probes import probes
from training.qwen2_vl.recipes import RECIPES
from training.recipes import Recipe

__all__ = ["LOSSES", "RECIPES", "probes", "starting_model"]


def starting_model(recipe: Recipe, seed: int) -> Qwen2VLForConditionalGeneration:
    """A random tower, and decoder and words of the recipe's base (`model.take_decoder`)."""
    return take_decoder(build_model(seed), load_miniature(recipe.base)[0])
