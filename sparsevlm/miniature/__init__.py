"""The bundled models: scenes, questions, weights.

Read `scenes` (the images), `question_families` (mirrors of the paper's benchmarks) and `registry`
(which miniatures there are); how they were trained is in the folder `training`. A number from a
miniature is never a number of the model that it is named after; `data/miniature/` holds the cards.
"""

from __future__ import annotations

__all__ = ["MissingAssetError", "load_miniature"]


def __getattr__(name: str):
    # The scorers read questions without loading torch, so weights are imported on demand.
    if name in ("load_miniature", "MissingAssetError"):
        from sparsevlm.miniature import weights

        return getattr(weights, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
