"""A study: one tidy data frame of what was measured, and the paired resamples behind it.

Every table and figure that is made of runs starts here. The frame holds each number once, with its
interval and the paper's number; differences between methods are made from the resamples, which are
paired because all methods answer the same questions. Read next: tables.py (how a frame becomes a
table and a page), words.py (comparisons in words), drawing.py (parts of figures).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean

import numpy as np
import pandas as pd

from sparsevlm.analysis import statistics
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.backends import backend_of
from sparsevlm.evaluation.plan import DENSE
from sparsevlm.evaluation.profiles import Profile, as_profile
from sparsevlm.evaluation.results.run import Record
from sparsevlm.evaluation.runs import ensure_records, load_records
from sparsevlm.models.sizes import ModelSizes, kv_bytes, prefill_flops

OURS, RANDOM = "sparsevlm", "random"
DENSE_SETTING = (DENSE, None)
COLUMNS = ("study", "model", "benchmark", "method", "tokens", "measure", "value", "low", "high",
           "n", "paper", "source")  # fmt: skip
# What the paper calls a measure over all benchmarks.
PAPER_MEASURE = {"relative accuracy": "relative_accuracy_percent"}

Setting = tuple[str, int | None]  # method and budget
PaperNumbers = Mapping[Setting, Mapping[str, float]]


@dataclass(frozen=True)
class Results:
    """A study with everything that its table or figure shows.

    Attributes
    ----------
    profile : Profile
        What was run, narrowed to the study.
    frame : DataFrame
        One row per number, in `COLUMNS`. `benchmark` is "" for a number over all benchmarks,
        `tokens` is missing for the dense model, `low` and `high` are the ends of the 95 % interval,
        `n` counts questions, `paper` is the paper's number and `source` the ids of the records.
        Measures by benchmark: "score", in the unit of the paper's column; "percent" of the dense
        score; "judged" (%) and "judge score" (0 to 5) where answers carry verdicts. Over all:
        "relative accuracy", the mean of the percentages; "mean score"; "ahead", the relative
        accuracy of `ours` at this budget minus this one; "minus dense" and "minus random", of the
        mean score; "tokens in", "tokens out", visual tokens entering and left by a layer, mean over
        layers and samples; "GFLOPs" and "KV (MB)" of a prefill, and their "(%)" of the dense ones.
    relative : dict by (method, tokens) of float arrays [1 + resamples]
        Resampled relative accuracies, paired across settings.
    scores : dict by (method, tokens, benchmark) of float arrays [1 + resamples]
        Resampled scores, paired likewise.
    records : dict by (method, tokens, benchmark)
        What all was computed from.
    paper : mapping by (method, tokens) of dict
        The paper's numbers (`published.by_setting`).
    ours : str
        The method whose lead over the others is shown.
    """

    profile: Profile
    frame: pd.DataFrame
    relative: dict[Setting, np.ndarray]
    scores: dict[tuple[str, int | None, str], np.ndarray] = field(default_factory=dict)
    records: dict[tuple[str, int | None, str], Record] = field(default_factory=dict)
    paper: PaperNumbers = field(default_factory=dict)
    ours: str = OURS

    @property
    def ids(self) -> list[str]:
        """The ids of the records, for the provenance of a figure."""
        return [record.id for record in self.records.values()]

    @property
    def settings(self) -> list[Setting]:
        """Dense first, then by budget, methods in the profile's order."""
        return settings_of(self.profile)

    @cached_property
    def _at(self) -> dict[tuple, Estimate]:
        rows = self.frame[["measure", "benchmark", "method", "tokens", "value", "low", "high"]]
        return {
            (measure, name, method, None if pd.isna(tokens) else int(tokens)): Estimate(*ends)
            for measure, name, method, tokens, *ends in rows.itertuples(index=False)
        }

    def find(self, measure: str, setting: Setting, benchmark: str = "") -> Estimate | None:
        """Return a number of the frame with its interval, or None where it has none."""
        return self._at.get((measure, benchmark, *setting))

    def get(self, measure: str, setting: Setting, benchmark: str = "") -> Estimate:
        """Return a number of the frame with its interval; KeyError where it has none."""
        return self._at[(measure, benchmark, *setting)]

    def value(self, measure: str, setting: Setting, benchmark: str = "") -> float:
        """Return a number of the frame without its interval; KeyError where it has none."""
        return self.get(measure, setting, benchmark).value

    def difference(self, first: Setting, second: Setting) -> Estimate:
        """Return the relative accuracy of `first` minus that of `second`, in points, paired."""
        return statistics.estimate(self.relative[first] - self.relative[second])

    def score_difference(self, benchmark: str, first: Setting, second: Setting) -> Estimate:
        """Return the score of `first` minus that of `second` on one benchmark, paired."""
        ends = [self.scores[(*setting, benchmark)] for setting in (first, second)]
        return statistics.estimate(ends[0] - ends[1])


def settings_of(profile: Profile) -> list[Setting]:
    """Return the rows of a table of settings in order."""
    return [DENSE_SETTING] + [(m, b) for b in profile.budgets for m in profile.methods]


def measure(
    profile: Profile | str, study: str, ours: str = OURS, paper: PaperNumbers | None = None
) -> Results:
    """Return a study of a profile, after running what is missing.

    Parameters
    ----------
    profile : Profile or str
        Whole; it is narrowed here.
    study : str
        Name in `data/studies.yaml`.
    ours : str
        The method whose lead over the others is wanted.
    paper : mapping, optional
        The paper's numbers by (method, tokens) and measure.

    Raises
    ------
    RunError
        Some runs could not be finished; the message says why.
    """
    chosen = as_profile(profile).for_study(study)
    return from_records(chosen, ensure_records(chosen), _sizes(chosen), ours, paper)


def read(
    profile: Profile | str, study: str, ours: str = OURS, paper: PaperNumbers | None = None
) -> Results:
    """Return a study of a profile from its finished records, without running any.

    Raises
    ------
    FileNotFoundError
        Some runs are not finished; the message says how to run them.
    """
    chosen = as_profile(profile).for_study(study)
    return from_records(chosen, load_records(chosen), _sizes(chosen), ours, paper)


def _sizes(profile: Profile) -> ModelSizes:
    return backend_of(profile.model).sizes(profile.model)


def from_records(
    profile: Profile,
    records: Iterable[Record],
    sizes: ModelSizes,
    ours: str = OURS,
    paper: PaperNumbers | None = None,
) -> Results:
    """Return a study from records.

    Parameters
    ----------
    profile : Profile
        Names methods, budgets and benchmarks.
    records : iterable of Record
        At least one per setting and benchmark.
    sizes : ModelSizes
        Of the model that answered.
    ours, paper
        As of `measure`.

    Raises
    ------
    ValueError
        A record is missing, or two methods answered different samples.
    """
    by_run = {(r.run.method, r.run.tokens, r.run.benchmark): r for r in records}
    settings, names = settings_of(profile), profile.benchmarks
    wanted = {(*setting, name) for setting in settings for name in names}
    if missing := wanted - by_run.keys():
        first = min(missing, key=str)
        raise ValueError(f"{len(missing)} records are missing, among them {first}")
    # Benchmark by benchmark, so that the draws of one are made once and rows are read once.
    by_run = {key: by_run[key] for key in sorted(wanted, key=lambda key: (key[2], str(key)))}
    scores, counts, first = {}, {}, {}
    for key, record in by_run.items():
        benchmark, rows = BENCHMARKS[key[2]], record.predictions
        table = statistics.stats_of_groups(rows, benchmark.sample_stats)
        statistics.check_paired(first.setdefault(key[2], table), table)
        seed = statistics.SEED + names.index(key[2])  # one per benchmark, so that methods pair
        scores[key] = statistics.resampled_scores(table, benchmark.aggregate, seed=seed)
        counts[key] = _Counts.of(record, sizes)
    dense = [scores[(*DENSE_SETTING, name)] for name in names]
    relative = {
        setting: statistics.relative_accuracy([scores[(*setting, n)] for n in names], dense)
        for setting in settings
    }
    empty = Results(profile, pd.DataFrame(), relative, scores, by_run, paper or {}, ours)
    rows = [row for setting in settings for row in _rows(empty, setting, counts)]
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"tokens": "Int64", "paper": float})
    return replace(empty, frame=frame)


@dataclass(frozen=True)
class _Counts:
    """What one record adds to the frame beside its score; read from its rows once."""

    questions: int
    tokens_in: float
    tokens_out: float
    flops: list[float]  # of the prefill of every sample
    cache: list[float]  # bytes of its keys and values
    judge: dict

    @classmethod
    def of(cls, record: Record, sizes: ModelSizes) -> _Counts:
        rows = record.predictions
        entering = [[n + row["text_tokens"] for n in row["tokens_in"]] for row in rows]
        return cls(
            len(rows), record.tokens_in, record.tokens_out,
            [prefill_flops(one, sizes) for one in entering],
            [kv_bytes(one, sizes) for one in entering],
            BENCHMARKS[record.run.benchmark].score(rows).get("judge") or {},
        )  # fmt: skip


def _rows(study: Results, setting: Setting, counts: Mapping[tuple, _Counts]) -> Iterator[dict]:
    """The rows of the frame about one setting: by benchmark, then over all."""
    profile, paper = study.profile, study.paper.get(setting, {})
    own, dense = (
        {name: counts[(*one, name)] for name in profile.benchmarks}
        for one in (setting, DENSE_SETTING)
    )
    cases = [
        (name, _of_benchmark(study, setting, name, own[name].judge), [name])
        for name in profile.benchmarks
    ]
    cases.append(("", _of_setting(study, setting) | _costs(own, dense), profile.benchmarks))
    for name, measures, names in cases:
        questions = sum(own[one].questions for one in names)
        source = " ".join(study.records[(*setting, one)].id for one in names)
        known = {"score": BENCHMARKS[name].paper_column} if name else PAPER_MEASURE
        for kind, found in measures.items():
            if not isinstance(found, Estimate):
                found = Estimate(found, np.nan, np.nan)
            values = (
                profile.study, profile.model, name, *setting, kind, found.value, found.low,
                found.high, questions, paper.get(known.get(kind, "")), source,
            )  # fmt: skip
            yield dict(zip(COLUMNS, values, strict=True))


def _of_benchmark(
    study: Results, setting: Setting, name: str, judge: Mapping
) -> dict[str, Estimate | float]:
    drawn = study.scores[(*setting, name)]
    dense = study.scores[(*DENSE_SETTING, name)]
    judged = judge.get("judged")
    return {
        "score": statistics.estimate(drawn),
        "percent": statistics.estimate(statistics.relative_accuracy([drawn], [dense])),
        **({"judged": judge["accuracy"], "judge score": judge["score"]} if judged else {}),
    }


def _of_setting(study: Results, setting: Setting) -> dict[str, Estimate | float]:
    names = study.profile.benchmarks
    means = {s: np.mean([study.scores[(*s, n)] for n in names], axis=0) for s in study.relative}
    found: dict[str, Estimate | float] = {
        "relative accuracy": statistics.estimate(study.relative[setting]),
        "mean score": fmean(float(study.scores[(*setting, name)][0]) for name in names),
    }
    ours, random = (study.ours, setting[1]), (RANDOM, setting[1])
    if ours in means and ours != setting:
        found["ahead"] = study.difference(ours, setting)
    for kind, rival in (("minus dense", DENSE_SETTING), ("minus random", random)):
        if rival in means and rival != setting:
            found[kind] = statistics.estimate(means[setting] - means[rival])
    return found


def _costs(own: Mapping[str, _Counts], dense: Mapping[str, _Counts]) -> dict[str, float]:
    flops, dense_flops = (
        fmean(n for one in each.values() for n in one.flops) for each in (own, dense)
    )
    cache, dense_cache = (
        fmean(n for one in each.values() for n in one.cache) for each in (own, dense)
    )
    return {
        "tokens in": fmean(one.tokens_in for one in own.values()),
        "tokens out": fmean(one.tokens_out for one in own.values()),
        "GFLOPs": flops / 1e9,
        "FLOPs (%)": 100 * flops / dense_flops,
        "KV (MB)": cache / 1e6,
        "KV (%)": 100 * cache / dense_cache,
    }
