"""MSRVTT-QA: what, who and where in a web video, answered in a word."""

from __future__ import annotations

from sparsevlm.benchmarks.videoqa import aggregate, parse, sample_stats, score, score_sample

__all__ = ["aggregate", "parse", "sample_stats", "score", "score_sample"]
