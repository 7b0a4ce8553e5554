"""TGIF-QA: short animations, which Video-LLaVA's data have as .mp4."""

from __future__ import annotations

from sparsevlm.benchmarks.loaders.videoqa import VideoSet

SET = VideoSet("TGIF_Zero_Shot_QA", "mp4")
LAYOUT, read = SET.layout, SET.read
