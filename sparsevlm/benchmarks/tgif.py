"""TGIF-QA: what is done, how often and what follows in a short animation."""

from __future__ import annotations

from sparsevlm.benchmarks.videoqa import aggregate, parse, sample_stats, score, score_sample

__all__ = ["aggregate", "parse", "sample_stats", "score", "score_sample"]
