"""The paper's twelve benchmarks by name: eight of images (Table 1), four of videos (Table 3).

Scoring needs numpy only. The questions of the miniature are imported when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from sparsevlm.benchmarks import (
    activitynet,
    gqa,
    mmbench,
    mme,
    mmvet,
    msrvtt,
    msvd,
    pope,
    scienceqa,
    seed,
    textvqa,
    tgif,
)
from sparsevlm.benchmarks.counting import Counts, Row
from sparsevlm.benchmarks.sample import Sample


@dataclass(frozen=True)
class Benchmark:
    """How one benchmark asks, reads and scores.

    Attributes
    ----------
    name, label, paper_column : str
        Key, name in text, and column of the published table.
    unit : str
        Of the score: "%" or "points".
    source : str
        The official scorer that is followed.
    media : str
        "image" or "video": what a sample shows.
    max_new_tokens : int
        Longest answer that the official script allows on the real data; decoding is greedy.
    parse : (prediction, Sample) -> str
        The answer as the scorer reads it.
    score_sample : (row) -> float
        How right one answer is on its own, 0 to 1.
    sample_stats : (rows of one group) -> dict of float
        Additive counts of one group.
    aggregate : (summed counts) -> score
        The score; elementwise, so it takes resampled sums as well.
    score : (rows) -> dict
        The score under "score", with its parts.
    """

    name: str
    label: str
    paper_column: str
    unit: str
    source: str
    media: str
    max_new_tokens: int
    parse: Callable[[str, Sample], str]
    score_sample: Callable[[Row], float]
    sample_stats: Callable[[Sequence[Row]], Counts]
    aggregate: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    score: Callable[[Sequence[Row]], dict]


SHORT, LONG = 128, 1024  # new tokens: LLaVA's model_vqa_loader, and its other scripts
MATCH = "normalised match beside the Video-ChatGPT judge"


def _image(module: ModuleType, label: str, column: str, source: str, longest: int = SHORT):
    unit = "points" if module is mme else "%"
    return _benchmark(module, label, column, unit, source, "image", longest)


def _video(module: ModuleType, label: str):
    return _benchmark(module, label, label, "%", MATCH, "video", LONG)


def _benchmark(module: ModuleType, *described) -> Benchmark:
    name = module.__name__.rpartition(".")[2]
    functions = (
        module.parse,
        module.score_sample,
        module.sample_stats,
        module.aggregate,
        module.score,
    )
    return Benchmark(name, *described, *functions)


BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        _image(gqa, "GQA", "GQA", "GQA eval.py after LLaVA convert_gqa_for_eval.py"),
        _image(mmbench, "MMBench", "MMB", "MMBench circular, rule-based matching", LONG),
        _image(mme, "MME", "MME", "MME calculation.py, perception + cognition"),
        _image(pope, "POPE", "POPE", "LLaVA eval_pope.py, mean F1 of the three splits"),
        _image(scienceqa, "ScienceQA", "SQA", "LLaVA eval_science_qa.py", LONG),
        _image(seed, "SEED-Bench", "SEED", "LLaVA convert_seed_for_submission.py, total"),
        _image(textvqa, "TextVQA", "TextVQA", "LLaVA m4c_evaluator.py"),
        _image(mmvet, "MM-Vet", "MMVet", "normalised match in place of the GPT-4 judge", LONG),
        _video(tgif, "TGIF-QA"),
        _video(msvd, "MSVD-QA"),
        _video(msrvtt, "MSRVTT-QA"),
        _video(activitynet, "ActivityNet-QA"),
    )
}


def get_benchmark(name: str) -> Benchmark:
    """Return the benchmark called `name`.

    Raises
    ------
    ValueError
        There is none; the message lists the known ones.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {name!r}; known: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]
