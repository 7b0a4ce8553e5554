"""The trainer of each miniature: everything about its training that depends on its architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sparsevlm.miniature.registry import get_miniature
from training.recipes import Recipe


@dataclass(frozen=True)
class Trainer:
    """How one miniature is trained.

    Attributes
    ----------
    recipe : Recipe
        Its stages.
    losses : dict of callable
        By the names that stages give them; see `llava.losses`.
    starting_model : callable
        Recipe and seed to the model before the first step.
    probes : callable
        Model to what the card says of where it looks.
    """

    recipe: Recipe
    losses: Mapping[str, Callable[..., Any]]
    starting_model: Callable[[Recipe, int], Any]
    probes: Callable[[Any], dict]


def get_trainer(name: str) -> Trainer:
    """Return the trainer of a miniature; an unknown name raises ValueError with the known ones."""
    package = f"{__package__}.{get_miniature(name).architecture}"
    recipes, losses, model, probes = (
        import_module(f"{package}.{part}") for part in ("recipes", "losses", "model", "probes")
    )
    return Trainer(recipes.RECIPES[name], losses.LOSSES, model.starting_model, probes.probes)
