"""TGIF-QA: what is done, how often and what follows in a short animation."""

from __future__ import annotations

from sparsevlm.benchmarks.videoqa import counts, headline, judge, parse, score

__all__ = ["counts", "headline", "judge", "parse", "score"]
