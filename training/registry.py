"""The trainer of each miniature: everything about its training that depends on its architecture.

A trainer is a module with ``RECIPES`` (name to `Recipe`), ``LOSSES`` (name to loss, see
`llava.losses`), ``starting_model(recipe, seed)`` (the model before the first step) and
``probes(model)`` (what the card says of where the model looks).
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from sparsevlm.miniature.registry import get_miniature


def get_trainer(name: str) -> ModuleType:
    """Return the trainer of a miniature; an unknown name raises ValueError with the known ones."""
    return import_module(f"{__package__}.{get_miniature(name).architecture}.trainer")
