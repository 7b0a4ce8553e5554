"""The questions of the miniature LLaVA, and the images that they are about."""

from __future__ import annotations

from sparsevlm.miniature.question_families import FAMILIES as FAMILIES
from sparsevlm.miniature.questions import benchmark_samples, kept_scene

samples = benchmark_samples
scene = kept_scene  # of a seed, with its objects
