"""ActivityNet-QA: longer videos; motion, places, order, yes or no, numbers."""

from __future__ import annotations

from sparsevlm.benchmarks.videoqa import counts, headline, judge, parse, score

__all__ = ["counts", "headline", "judge", "parse", "score"]
