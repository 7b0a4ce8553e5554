"""Scorers that follow the official ones; loaders of real data."""

from __future__ import annotations

from sparsevlm.benchmarks.registry import BENCHMARKS, Benchmark, get_benchmark
from sparsevlm.benchmarks.sample import Sample

__all__ = ["BENCHMARKS", "Benchmark", "Sample", "get_benchmark"]
