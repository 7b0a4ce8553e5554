"""ActivityNet-QA: longer videos; motion, places, order, yes or no, numbers."""

from __future__ import annotations

from sparsevlm.benchmarks.videoqa import aggregate, parse, sample_stats, score, score_sample

__all__ = ["aggregate", "parse", "sample_stats", "score", "score_sample"]
