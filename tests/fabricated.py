"""Records in which a method knows an answer if the question is easier than its skill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from sparsevlm.analysis import study
from sparsevlm.benchmarks import get_benchmark
from sparsevlm.evaluation.profiles import Profile, get_profile
from sparsevlm.evaluation.results.run import EvaluationRun, Record
from sparsevlm.miniature.registry import get_miniature
from sparsevlm.models.sizes import ModelSizes

SHAPE = ModelSizes(layers=8, hidden=128, intermediate=352, heads=4)


@cache
def samples_of(model: str, benchmark: str, n: int) -> list:
    """Samples of a miniature's benchmark, made once: drawing the scenes takes a while."""
    return get_miniature(model).samples(benchmark, n, 0)


def narrowed(study_name: str, n: int = 24, **changes: object) -> Profile:
    """A study of the miniature with few samples."""
    return replace(get_profile("mini").for_study(study_name), samples_per_benchmark=n, **changes)


def fabricate(
    profile: Profile,
    skill: Mapping | Callable[[study.Setting, str, int], float],
    left: Mapping | None = None,
    layers: int = 4,
    visual: Callable[[int], int] = lambda number: 576,
    change: Callable[[dict, str, int], dict] = lambda row, benchmark, number: row,
) -> list[Record]:
    """One record per setting and benchmark of a profile, pruned after the first of its layers.

    `skill` is by (method, tokens), or by method for all budgets, or of a setting, benchmark and
    sample; `left` gives the tokens that a setting leaves where they are not its budget; `visual`
    are the tokens of an image; `change` gets the finished row of a sample.
    """
    known = skill if callable(skill) else lambda s, *_: skill[s if s in skill else s[0]]
    return [
        _record(profile, benchmark, setting, known, left or {}, layers, visual, change)
        for setting in study.settings_of(profile)
        for benchmark in profile.benchmarks
    ]


def _record(profile, benchmark, setting, skill, left, layers, visual, change) -> Record:
    method, tokens = setting
    rows = []
    for number, sample in enumerate(
        samples_of(profile.model, benchmark, profile.samples_per_benchmark)
    ):
        size = visual(number)
        out = left.get(setting, tokens or size)
        ease = np.random.default_rng([len(benchmark), *sample.group.encode()]).random()
        wrong = {"yes": "no", "no": "yes"}.get(sample.answer, "wrong")
        row = {
            **sample.to_json(),
            "prediction": sample.answer if ease < skill(setting, benchmark, number) else wrong,
            "tokens_in": [size] + [out] * (layers - 1),
            "tokens_out": [out] * layers,
            "text_tokens": 14,
        }
        rows.append(change(row, benchmark, number))
    run = EvaluationRun(
        model=profile.model, revision="r", benchmark=benchmark, samples="v", num_samples=len(rows),
        seed=0, method=method, tokens=tokens, pruner=f'{{"name":"{method}"}}', dtype="float32",
        attention="sdpa", batch=16,
    )  # fmt: skip
    score = get_benchmark(benchmark).score(rows)
    return Record(run, tuple(rows), score, ({"commit": "c0ffee"},), 1.0)
