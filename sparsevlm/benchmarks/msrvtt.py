"""MSRVTT-QA: what, who and where in a web video, answered in a word."""

from __future__ import annotations

from sparsevlm.benchmarks.videoqa import counts, headline, judge, parse, score

__all__ = ["counts", "headline", "judge", "parse", "score"]
