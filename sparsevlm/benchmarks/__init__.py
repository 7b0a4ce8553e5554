"""The paper's image benchmarks: how each asks, reads an answer and scores it (pure functions)."""

from __future__ import annotations

from sparsevlm.benchmarks.registry import BENCHMARKS, Benchmark, get_benchmark
from sparsevlm.benchmarks.sample import Sample

__all__ = ["BENCHMARKS", "Benchmark", "Sample", "get_benchmark"]
