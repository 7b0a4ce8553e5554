"""SparseVLM: text-guided pruning of visual tokens, reproduced.

Names load on first use, so reading records or settings needs no torch.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "sparsevlm.runtime.prune": ("prune", "reset"),
    "sparsevlm.runtime.capture": ("capture",),
    "sparsevlm.runtime.trace": ("Trace", "SampleTrace", "StageTrace"),
    "sparsevlm.core.schedule": (
        "PruningStage",
        "tokens_per_layer",
        "mean_tokens_in",
        "mean_tokens_out",
    ),
    "sparsevlm.core.budget": ("schedule_for",),
    "sparsevlm.core.interface": ("Pruner", "PruningContext", "Selection", "Groups"),
    "sparsevlm.core.sparsevlm": ("SparseVLM", "Dense"),
    "sparsevlm.methods": ("METHODS", "Method", "ScorePruner", "make_pruner", "own_method"),
    "sparsevlm.models.images": ("load_image",),
    "sparsevlm.models.template": ("Images",),
    "sparsevlm.evaluation.conversation": ("Conversation",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.3.0"
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'sparsevlm' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
