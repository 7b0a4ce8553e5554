"""The real data of the benchmarks, from folders in the official layout.

`load` gives samples with the exact prompts of LLaVA's scripts, or says which file is missing or
wrong before anything starts; `verify` says it without raising; `select` takes a seeded part, and
`part_of` says which part of a benchmark a folder holds.
"""

from __future__ import annotations

from sparsevlm.benchmarks.datasets.declared import Layout
from sparsevlm.benchmarks.loaders.layout import DataError, part_of
from sparsevlm.benchmarks.loaders.loading import layout_of, load, select, verify

__all__ = ["DataError", "Layout", "layout_of", "load", "part_of", "select", "verify"]
