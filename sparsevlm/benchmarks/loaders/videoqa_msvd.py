"""MSVD-QA: short clips of everyday scenes."""

from __future__ import annotations

from sparsevlm.benchmarks.loaders.videoqa import VideoSet, first_word

SET = VideoSet("MSVD_Zero_Shot_QA", "videos", split=first_word)
LAYOUT, read = SET.layout, SET.read
