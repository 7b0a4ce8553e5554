"""SparseVLM with one part changed: the ablations of Figure 5 and Table 4, and of positions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sparsevlm.core.sparsevlm import SparseVLM
from sparsevlm.core.variants import Layers, v15


def all_text(tokens: int, num_layers: int, num_visual: int, **options: Any) -> SparseVLM:
    """Figure 5: no selection of raters, every text token rates."""
    return v15(tokens, num_layers, num_visual, **{"raters": "all_text", **options})


def all_tokens(tokens: int, num_layers: int, num_visual: int, **options: Any) -> SparseVLM:
    """Figure 5, the other way: every token rates, visual ones and the system prompt too."""
    return v15(tokens, num_layers, num_visual, **{"raters": "all_tokens", **options})


def no_recycling(tokens: int, num_layers: int, num_visual: int, **options: Any) -> SparseVLM:
    """Table 4, with the budget refilled by tokens that are kept."""
    return v15(tokens, num_layers, num_visual, **{"recycle": 0.0, **options})


def not_refilled(
    tokens: int, num_layers: int, num_visual: int, *, layers: Layers = None, **options: Any
) -> SparseVLM:
    """Table 4, the other way to read it: recycled tokens are lost, kept ones as before.

    It is left with fewer tokens than its budget says; the paper does not state which it means.
    """
    changed: dict[str, Any] = {"recycle": 0.0, **options}
    return replace(v15(tokens, num_layers, num_visual, layers=layers), **changed)


def kept_positions(tokens: int, num_layers: int, num_visual: int, **options: Any) -> SparseVLM:
    """Survivors keep their positions; the release numbers what is left anew after every stage."""
    return v15(tokens, num_layers, num_visual, **{"positions": "original", **options})
