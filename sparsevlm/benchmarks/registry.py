"""The eight image benchmarks of the paper's Table 1, by name.

Scoring needs numpy only. The questions of the miniature are imported when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from sparsevlm.benchmarks import gqa, mmbench, mme, mmvet, pope, scienceqa, seed, textvqa
from sparsevlm.benchmarks.counting import Counts, Row, groups_of
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
    parse : (prediction, Sample) -> str
        The answer as the scorer reads it.
    judge : (row) -> float
        How right one answer is on its own, 0 to 1.
    counts : (rows of one group) -> dict of float
        Additive counts of one group.
    headline : (summed counts) -> score
        The score; elementwise, so it takes resampled sums as well.
    score : (rows) -> dict
        The score under "score", with its parts.
    """

    name: str
    label: str
    paper_column: str
    unit: str
    source: str
    parse: Callable[[str, Sample], str]
    judge: Callable[[Row], float]
    counts: Callable[[Sequence[Row]], Counts]
    headline: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    score: Callable[[Sequence[Row]], dict]

    def samples(self, n: int, seed: int) -> list[Sample]:
        """Return the first samples of the miniature benchmark, at most `n`, whole groups only.

        Parameters
        ----------
        n : int
            At most so many; a group (an MME pair, a circular question) is never split.
        seed : int
            Chooses which.

        Raises
        ------
        ValueError
            `n` is not a positive integer.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"n must be a positive integer, got {n!r}")
        from sparsevlm.miniature.questions import benchmark_samples

        samples = benchmark_samples(self.name, n, seed)
        rows = [{**sample.to_json(), "prediction": sample.answer} for sample in samples]
        for group in groups_of(rows).values():
            self.counts(group)  # raises now, not after hours of answering, if a group is not whole
        return samples


def _benchmark(module: ModuleType, label: str, column: str, source: str, unit: str = "%"):
    name = module.__name__.rpartition(".")[2]
    functions = (module.parse, module.judge, module.counts, module.headline, module.score)
    return Benchmark(name, label, column, unit, source, *functions)


BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        _benchmark(gqa, "GQA", "GQA", "GQA eval.py after LLaVA convert_gqa_for_eval.py"),
        _benchmark(mmbench, "MMBench", "MMB", "MMBench circular evaluation, rule-based matching"),
        _benchmark(mme, "MME", "MME", "MME calculation.py, perception + cognition", "points"),
        _benchmark(pope, "POPE", "POPE", "LLaVA eval_pope.py, mean F1 of the three splits"),
        _benchmark(scienceqa, "ScienceQA", "SQA", "LLaVA eval_science_qa.py"),
        _benchmark(seed, "SEED-Bench", "SEED", "LLaVA convert_seed_for_submission.py, total"),
        _benchmark(textvqa, "TextVQA", "TextVQA", "LLaVA m4c_evaluator.py"),
        _benchmark(mmvet, "MM-Vet", "MMVet", "normalised match in place of the GPT-4 judge"),
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
