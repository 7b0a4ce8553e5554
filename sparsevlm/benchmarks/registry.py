"""The paper's twelve benchmarks by name: eight of images (Table 1), four of videos (Table 3).

A benchmark is a module with ``score_sample(row)``; where its score is more than the mean over
samples, the module also has ``sample_stats``, ``aggregate`` and ``score``. Its real data are read
by the loader of the same name (`loaders`). Scoring needs numpy only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType

import numpy as np

from sparsevlm.benchmarks import gqa, mmbench, mme, mmvet, pope, scienceqa, seed, textvqa, videoqa
from sparsevlm.benchmarks.answers import READINGS
from sparsevlm.benchmarks.counting import Counts, Row, mean_score, percent_right, share_right

SHORT, LONG = 128, 1024  # new tokens: LLaVA's model_vqa_loader, and its other scripts


@dataclass(frozen=True)
class Benchmark:
    """How one benchmark asks and scores.

    Attributes
    ----------
    name, label, paper_column : str
        Key, name in text, and column of the published table.
    max_new_tokens : int
        Longest answer that the official script allows on the real data; decoding is greedy.
    score_sample : (row) -> float
        How right one answer is on its own, 0 to 1.
    sample_stats : (rows of one group) -> dict of float
        Additive counts of one group.
    aggregate : (summed counts) -> score
        The score; elementwise, so it takes resampled sums as well.
    score : (rows) -> dict
        The score under "score", with its parts.
    scorer : str
        Full name of the module that scores.
    media : str
        "image" or "video": what a sample shows.
    unit : str
        Of the score: "%" or "points".
    readings : tuple of str
        Versions of the official rules that answers can be read by, the default first; () for one.
    """

    name: str
    label: str
    paper_column: str
    max_new_tokens: int
    score_sample: Callable[[Row], float]
    sample_stats: Callable[[Sequence[Row]], Counts]
    aggregate: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    score: Callable[[Sequence[Row]], dict]
    scorer: str
    media: str = "image"
    unit: str = "%"
    readings: tuple[str, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules whose code makes the score."""
        return (self.scorer, share_right.__module__)


def _benchmark(
    scorer: ModuleType, name: str, label: str, column: str, longest: int = SHORT, **fields: object
) -> Benchmark:
    stats = getattr(scorer, "sample_stats", None) or share_right(scorer.score_sample)
    aggregate = getattr(scorer, "aggregate", percent_right)
    score = getattr(scorer, "score", None) or partial(mean_score, sample_stats=stats)
    functions = (scorer.score_sample, stats, aggregate, score)
    return Benchmark(name, label, column, longest, *functions, scorer.__name__, **fields)


BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        _benchmark(gqa, "gqa", "GQA", "GQA"),
        _benchmark(mmbench, "mmbench", "MMBench", "MMB", LONG, readings=READINGS),
        _benchmark(mme, "mme", "MME", "MME", unit="points"),
        _benchmark(pope, "pope", "POPE", "POPE"),
        _benchmark(scienceqa, "scienceqa", "ScienceQA", "SQA", LONG),
        _benchmark(seed, "seed", "SEED-Bench", "SEED"),
        _benchmark(textvqa, "textvqa", "TextVQA", "TextVQA"),
        _benchmark(mmvet, "mmvet", "MM-Vet", "MMVet", LONG),
        _benchmark(videoqa, "tgif", "TGIF-QA", "TGIF-QA", LONG, media="video"),
        _benchmark(videoqa, "msvd", "MSVD-QA", "MSVD-QA", LONG, media="video"),
        _benchmark(videoqa, "msrvtt", "MSRVTT-QA", "MSRVTT-QA", LONG, media="video"),
        _benchmark(videoqa, "activitynet", "ActivityNet-QA", "ActivityNet-QA", LONG, media="video"),
    )
}


def get_benchmark(name: str, reading: str = "") -> Benchmark:
    """Return the benchmark called `name`, its answers read by one of its `readings`.

    Raises
    ------
    ValueError
        There is none, or it has no such reading; the message lists the known ones.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {name!r}; known: {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[name]
    if not reading:
        return benchmark
    if reading not in benchmark.readings:
        known = ", ".join(benchmark.readings) or "none, its rules have one version"
        raise ValueError(f"unknown reading {reading!r} of {name}; known: {known}")
    scorers = ("score_sample", "sample_stats", "score")
    return replace(
        benchmark, **{key: partial(getattr(benchmark, key), reading=reading) for key in scorers}
    )


def accuracy_by_kind(name: str, rows: Sequence[Mapping]) -> dict[str, object]:
    """Score and plain accuracy on one benchmark, and accuracy by kind of question."""
    benchmark, splits = BENCHMARKS[name], defaultdict(list)
    for row in rows:
        splits[row["split"]].append(float(benchmark.score_sample(row)))
    return {
        "label": benchmark.label,
        "questions": len(rows),
        "score": benchmark.score(rows)["score"],
        "unit": benchmark.unit,
        "accuracy": sum(map(sum, splits.values())) / len(rows),
        "splits": {k: sum(v) / len(v) for k, v in sorted(splits.items())},
        "split_questions": {k: len(v) for k, v in sorted(splits.items())},
    }
