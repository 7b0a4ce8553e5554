"""Drawing questions: the samples of a miniature benchmark."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from sparsevlm.benchmarks.sample import Sample
from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.question_families import FAMILIES, Family
from sparsevlm.miniature.scenes import Scene, make_scene

# Scenes of the benchmarks; training uses seeds below this (`training.recipes`).
BENCHMARK_SEEDS = 2 * 10**9

# Questions are made of a scene before its image is looked at: those of a benchmark are kept.
SCENES_KEPT = 256
kept_scene = lru_cache(maxsize=SCENES_KEPT)(make_scene)


def benchmark_samples(
    benchmark: str,
    n: int,
    seed: int,
    families: Mapping[str, Sequence[Family]] = FAMILIES,
    draw: Callable[[int], Scene] = kept_scene,
    scope: str = "",
) -> list[Sample]:
    """The first ``n`` samples of a miniature benchmark, whole groups only.

    Parameters
    ----------
    benchmark : str
        A key of ``families``.
    n : int
        At most this many samples; a group that would pass it is left out, and so are those after.
    seed : int
        Another seed gives other scenes and questions.
    families : dict
        Benchmark to its families of questions, which take turns.
    draw : callable
        Seed to scene.
    scope : str
        Another one gives other scenes.

    Raises
    ------
    ValueError
        Unknown benchmark, or n below one.
    """
    check_request(benchmark, families, n)
    base = BENCHMARK_SEEDS + zlib.crc32(f"{scope}{benchmark}/{seed}".encode()) * 10**6
    return _grouped_samples(benchmark, families[benchmark], n, base, draw)


def check_request(benchmark: str, families: Mapping[str, Sequence[object]], n: int) -> None:
    """Raise ValueError for a benchmark without families, or fewer than one sample."""
    if benchmark not in families:
        raise ValueError(f"unknown benchmark {benchmark!r}; choose from {', '.join(families)}")
    if n < 1:
        raise ValueError(f"the number of samples must be at least 1, got {n}")


def _grouped_samples(
    benchmark: str,
    families: Sequence[Family],
    n: int,
    base: int,
    draw: Callable[[int], Scene],
) -> list[Sample]:
    """The samples of one benchmark, whole groups only; the first scene has the seed ``base``."""
    samples: list[Sample] = []
    number = 0
    while True:
        image = base + number
        family = families[number % len(families)]
        number += 1
        drafts = family(Facts(draw(image)), np.random.default_rng((image, 1)))
        if not drafts:
            continue
        if len(samples) + len(drafts) > n:
            return samples
        group = f"{benchmark}/{number:05d}"
        for index, draft in enumerate(drafts):
            name = group if len(drafts) == 1 else f"{group}.{index}"
            samples.append(Sample(name, f"scene:{image}", group=group, **vars(draft)))
