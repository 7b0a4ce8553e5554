"""A study: one tidy data frame of what was measured, and the paired resamples behind it.

Every table and figure that is made of runs starts here. The frame holds each number once, with its
interval and the paper's number; differences between methods are made from the resamples, which are
paired because all methods answer the same questions. Read next: tables.py (how a frame becomes a
table), report.py (its page and files), words.py (comparisons in words), drawing.py (figures).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from sparsevlm.analysis import statistics
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.backends import backend_of
from sparsevlm.evaluation.judges.judgements import MATCHED, Judging, judging_of
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
        Measures by benchmark: "score", in the unit of the paper's column, by verdicts where there
        are any; "percent" of dense; "judge score" (0 to 5) of judged videos. Over all: "relative
        accuracy", the mean of the percentages; "mean score", "mean judge score"; "ahead", relative
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
    judging : Judging
        Who judged open answers; as text, what a page says of it.
    """

    profile: Profile
    frame: pd.DataFrame
    relative: dict[Setting, np.ndarray]
    scores: dict[tuple[str, int | None, str], np.ndarray] = field(default_factory=dict)
    records: dict[tuple[str, int | None, str], Record] = field(default_factory=dict)
    paper: PaperNumbers = field(default_factory=dict)
    ours: str = OURS
    judging: Judging = MATCHED

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
    profile: Profile | str,
    study: str,
    ours: str = OURS,
    paper: PaperNumbers | None = None,
    run_missing: bool = True,
    judge: str = "",
) -> Results:
    """Return a study of a profile, which is narrowed here, after running what is missing.

    Without `run_missing` finished records are read only; for the judge see `judging_of`, for `ours`
    and `paper` `Results`.

    Raises
    ------
    RunError, FileNotFoundError, JudgeError
        Runs could not be finished, or are not; or it is not clear whose verdicts count.
    """
    chosen = as_profile(profile).for_study(study)
    records = (ensure_records if run_missing else load_records)(chosen)
    judging, backend = judging_of(chosen, records, judge), backend_of(chosen.model)
    noted, sizes = chosen.noted(backend.note(chosen.benchmarks)), backend.sizes(chosen.model)
    return from_records(noted, records, sizes, ours, paper, judging)


def from_records(
    profile: Profile,
    records: Iterable[Record],
    sizes: ModelSizes,
    ours: str = OURS,
    paper: PaperNumbers | None = None,
    judging: Judging = MATCHED,
) -> Results:
    """Return a study from records, at least one per setting and benchmark of the profile.

    The sizes are those of the model that answered; `ours`, `paper` and `judging` as of `Results`.

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
        benchmark, rows = BENCHMARKS[key[2]], judging.rows(record)
        table = statistics.stats_of_groups(rows, benchmark.sample_stats)
        statistics.check_paired(first.setdefault(key[2], table), table)
        seed = statistics.SEED + names.index(key[2])  # one per benchmark, so that methods pair
        scores[key] = statistics.resampled_scores(table, judging.aggregate(key[2]), seed=seed)
        counts[key] = _counts(record, rows, sizes)
    dense = [scores[(*DENSE_SETTING, name)] for name in names]
    relative = {
        setting: statistics.relative_accuracy([scores[(*setting, n)] for n in names], dense)
        for setting in settings
    }
    empty = Results(profile, pd.DataFrame(), relative, scores, by_run, paper or {}, ours, judging)
    rows = [row for setting in settings for row in _rows(empty, setting, counts)]
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"tokens": "Int64", "paper": float})
    return replace(empty, frame=frame)


_Counts = Mapping[str, Any]  # of one record


def _counts(record: Record, rows: Sequence[Mapping], sizes: ModelSizes) -> _Counts:
    """What one record adds to the frame beside its score; read from its rows once."""
    entering = [[n + row["text_tokens"] for n in row["tokens_in"]] for row in rows]
    return {
        "questions": len(rows), "tokens in": record.tokens_in, "tokens out": record.tokens_out,
        # Of the prefill of every sample, and bytes of its keys and values.
        "flops": [prefill_flops(one, sizes) for one in entering],
        "cache": [kv_bytes(one, sizes) for one in entering],
        "judge": BENCHMARKS[record.run.benchmark].score(rows).get("judge") or {},
    }  # fmt: skip


def _rows(study: Results, setting: Setting, counts: Mapping[tuple, _Counts]) -> Iterator[tuple]:
    """The rows of the frame about one setting: by benchmark, then over all."""
    profile, paper = study.profile, study.paper.get(setting, {})
    names = profile.benchmarks
    own, dense = ([counts[(*one, name)] for name in names] for one in (setting, DENSE_SETTING))
    cases = [
        (name, _of_benchmark(study, setting, name, of["judge"]), [name])
        for name, of in zip(names, own, strict=True)
    ]
    cases.append(("", _of_setting(study, setting) | _costs(own, dense), names))
    if points := [of["judge"]["score"] for of in own if "accuracy" in of["judge"]]:
        cases[-1][1]["mean judge score"] = fmean(points)
    for name, measures, asked in cases:
        questions = sum(counts[(*setting, one)]["questions"] for one in asked)
        source = " ".join(study.records[(*setting, one)].id for one in asked)
        known = {"score": BENCHMARKS[name].paper_column} if name else PAPER_MEASURE
        for kind, found in measures.items():
            one = found if isinstance(found, Estimate) else Estimate(found, np.nan, np.nan)
            yield (
                profile.study, profile.model, name, *setting, kind, one.value, one.low, one.high,
                questions, paper.get(known.get(kind, "")), source,
            )  # fmt: skip


def _of_benchmark(
    study: Results, setting: Setting, name: str, judge: Mapping
) -> dict[str, Estimate | float]:
    drawn, dense = (study.scores[(*one, name)] for one in (setting, DENSE_SETTING))
    percent = statistics.relative_accuracy([drawn], [dense])
    found = {"score": statistics.estimate(drawn), "percent": statistics.estimate(percent)}
    return found | ({"judge score": judge["score"]} if "accuracy" in judge else {})


def _of_setting(study: Results, setting: Setting) -> dict[str, Estimate | float]:
    names, known = study.profile.benchmarks, study.relative
    found: dict[str, Estimate | float] = {
        "relative accuracy": statistics.estimate(known[setting]),
        "mean score": fmean(float(study.scores[(*setting, name)][0]) for name in names),
    }
    if (ours := (study.ours, setting[1])) in known and ours != setting:
        found["ahead"] = study.difference(ours, setting)
    for kind, rival in (("minus dense", DENSE_SETTING), ("minus random", (RANDOM, setting[1]))):
        if rival in known and rival != setting:
            means = [
                np.mean([study.scores[(*s, n)] for n in names], axis=0) for s in (setting, rival)
            ]
            found[kind] = statistics.estimate(means[0] - means[1])
    return found


def _costs(own: Sequence[_Counts], dense: Sequence[_Counts]) -> dict[str, float]:
    flops, cache = _mean(own, "flops"), _mean(own, "cache")
    return {
        **{kind: fmean(one[kind] for one in own) for kind in ("tokens in", "tokens out")},
        "GFLOPs": flops / 1e9,
        "FLOPs (%)": 100 * flops / _mean(dense, "flops"),
        "KV (MB)": cache / 1e6,
        "KV (%)": 100 * cache / _mean(dense, "cache"),
    }


def _mean(counts: Sequence[_Counts], kind: str) -> float:
    """The mean over the samples of all benchmarks."""
    return fmean(number for one in counts for number in one[kind])
