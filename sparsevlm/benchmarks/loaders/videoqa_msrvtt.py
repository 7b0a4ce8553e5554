"""MSRVTT-QA: web videos of many kinds."""

from __future__ import annotations

from sparsevlm.benchmarks.loaders.videoqa import VideoSet, first_word

SET = VideoSet("MSRVTT_Zero_Shot_QA", "videos/all", split=first_word)
LAYOUT, read = SET.layout, SET.read
