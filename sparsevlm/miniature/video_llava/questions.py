"""Drawing questions about clips: the samples of a benchmark."""

from __future__ import annotations

import zlib

import numpy as np
from PIL.Image import Image

from sparsevlm.benchmarks.sample import Sample
from sparsevlm.miniature.questions import BENCHMARK_SEEDS, check_request
from sparsevlm.miniature.video_llava.clips import clip_actors, make_clip
from sparsevlm.miniature.video_llava.question_families import FAMILIES, ClipFacts


def draw(seed: int) -> list[Image]:
    """The frames of the clip of a seed."""
    return make_clip(seed).frames


def samples(benchmark: str, n: int, seed: int) -> list[Sample]:
    """The first ``n`` samples of a benchmark, one clip each; kinds of question take turns.

    Parameters
    ----------
    benchmark : str
        A key of `FAMILIES`: tgif, msvd, msrvtt, activitynet.
    n : int
        Number of samples.
    seed : int
        Another seed gives other clips and questions.

    Raises
    ------
    ValueError
        Unknown benchmark, or n below one.
    """
    check_request(benchmark, FAMILIES, n)
    clip_seed = BENCHMARK_SEEDS + zlib.crc32(f"{benchmark}/{seed}".encode()) * 10**6
    families = FAMILIES[benchmark]
    found: list[Sample] = []
    while len(found) < n:
        # A clip that cannot carry the question gives way to the next, so kinds keep their shares.
        family = families[len(found) % len(families)]
        draft = family(ClipFacts(clip_actors(clip_seed)), np.random.default_rng((clip_seed, 1)))
        if draft:
            name = f"{benchmark}/{len(found) + 1:05d}"
            found.append(Sample(name, f"clip:{clip_seed}", **vars(draft)))
        clip_seed += 1
    return found
