"""The questions of the miniature LLaVA, and the images that they are about."""

from __future__ import annotations

from sparsevlm.miniature.question_families import FAMILIES as FAMILIES
from sparsevlm.miniature.questions import benchmark_samples
from sparsevlm.miniature.scenes import make_scene

samples = benchmark_samples
scene = make_scene  # of a seed, with its objects
