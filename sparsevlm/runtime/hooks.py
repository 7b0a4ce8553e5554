"""Hooks that a model carries while it is pruned, and the arguments that they are called with."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

from torch import nn

from sparsevlm.core.interface import phase


class Hook:
    """A hook of one session. A copy of the model, or a pickle of it, gets an inert one."""

    def __init__(self, function: Callable) -> None:
        self.function = function

    @phase("hooks")
    def __call__(self, *args: object) -> object:
        return self.function(*args)

    def __reduce__(self) -> tuple:
        return Hook, (_nothing,)


def _nothing(*args: object) -> None:
    """What the hooks of a copied model do."""


def bind(function: Callable, index: int) -> Callable:
    """A hook that gets the number of its layer first."""
    return partial(function, index)


def arguments_of(module: nn.Module, args: tuple, kwargs: dict) -> dict:
    """All arguments of a call by name."""
    if not args:
        return kwargs
    bound = inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments
    return {**bound, **bound.pop("kwargs", {})}
