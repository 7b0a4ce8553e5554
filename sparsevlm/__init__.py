"""SparseVLM: text-guided pruning of visual tokens, reproduced.

Names load on first use, so reading records or settings needs no torch.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "sparsevlm.pruning": ("prune",),
    "sparsevlm.captured": ("capture",),
    "sparsevlm.trace": ("Trace", "SampleTrace", "CutTrace"),
    "sparsevlm.schedule": (
        "Cut",
        "tokens_per_layer",
        "mean_tokens_in",
        "mean_tokens_out",
    ),
    "sparsevlm.budget": ("schedule_for",),
    "sparsevlm.contract": ("Pruner", "View", "Selection", "Groups"),
    "sparsevlm.pruners": ("SparseVLM", "Dense"),
    "sparsevlm.baselines": ("METHODS", "Method", "make_pruner"),
    "sparsevlm.images": ("load_image",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'sparsevlm' has no attribute {name!r}")
    if name in ("prune", "capture"):
        # The facade wires the parts: these know no family by name.
        importlib.import_module("sparsevlm.families")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
