"""Everything that training needs to know of this architecture (see `training.registry`)."""

from __future__ import annotations

from transformers import VideoLlavaForConditionalGeneration

from sparsevlm.miniature.video_llava.model import warm_start
from sparsevlm.miniature.weights import load_miniature
from training.recipes import Recipe
from training.video_llava.losses import LOSSES
from training.video_llava.probes import probes
from training.video_llava.recipes import RECIPES

__all__ = ["LOSSES", "RECIPES", "probes", "starting_model"]


def starting_model(recipe: Recipe, seed: int) -> VideoLlavaForConditionalGeneration:
    """The weights of the recipe's base where they fit (`model.warm_start`)."""
    return warm_start(load_miniature(recipe.base)[0], seed, recipe.num_layers)
