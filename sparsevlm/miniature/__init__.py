"""The miniature: a real LLaVA small enough to train and to run on two processor cores.

Read `scenes` (the images), `question_families` (the eight mirrors of the paper's benchmarks),
`statements` (the captions it learns from), `train` (the recipe) in this order. A number from the
miniature is never a number of LLaVA-1.5; `data/miniature/` holds its card.
"""

from __future__ import annotations

__all__ = ["MissingAssetError", "load_miniature"]


def __getattr__(name: str):
    # The scorers read questions without loading torch, so weights are imported on demand.
    if name in ("load_miniature", "MissingAssetError"):
        from sparsevlm.miniature import weights

        return getattr(weights, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
