"""Everything that training needs to know of this architecture (see `training.registry`)."""

from __future__ import annotations

from transformers import LlavaForConditionalGeneration

from sparsevlm.miniature.llava.model import build_model, grow
from sparsevlm.miniature.weights import load_miniature
from training.llava.losses import LOSSES
from training.llava.probes import probes
from training.llava.recipes import RECIPES
from training.recipes import Recipe

__all__ = ["LOSSES", "RECIPES", "probes", "starting_model"]


def starting_model(recipe: Recipe, seed: int) -> LlavaForConditionalGeneration:
    """Grown from the recipe's base (`model.grow`), or of random weights."""
    if recipe.base:
        return grow(load_miniature(recipe.base)[0], recipe.num_layers)
    return build_model(seed, recipe.num_layers)
