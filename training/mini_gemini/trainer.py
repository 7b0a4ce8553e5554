"""Everything that training needs to know of this architecture (see `training.registry`)."""

from __future__ import annotations

from sparsevlm.miniature.mini_gemini.model import grow
from sparsevlm.miniature.weights import load_miniature
from sparsevlm.models.mini_gemini import MiniGeminiForConditionalGeneration
from training.mini_gemini.losses import LOSSES
from training.mini_gemini.probes import probes
from training.mini_gemini.recipes import RECIPES
from training.recipes import Recipe

__all__ = ["LOSSES", "RECIPES", "probes", "starting_model"]


def starting_model(recipe: Recipe, seed: int) -> MiniGeminiForConditionalGeneration:
    """Grown from the recipe's base (`model.grow`)."""
    return grow(load_miniature(recipe.base)[0], seed)
