"""A study from its records: scores, relative accuracies and paired differences, with intervals.

Every table and figure that is made of runs starts here. Read next: study_words.py (comparisons in
words), study_views.py (tables and files), study_drawing.py (parts of figures).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from sparsevlm.analysis import statistics
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.backends import backend_of
from sparsevlm.evaluation.plan import DENSE
from sparsevlm.evaluation.profiles import Profile, as_profile
from sparsevlm.evaluation.runs import Record, load_records
from sparsevlm.models.sizes import ModelSizes, prefill_flops

OURS = "sparsevlm"
DENSE_SETTING = (DENSE, None)

Setting = tuple[str, int | None]  # method and budget


@dataclass(frozen=True)
class Row:
    """One method at one budget.

    Attributes
    ----------
    method : str
        Name in `sparsevlm.METHODS`.
    tokens : int or None
        Budget; None for the dense model.
    scores : dict of float
        By benchmark, in the unit of the paper's column.
    relative : Estimate
        Mean of the percentages of the dense scores, with its interval.
    ahead : Estimate
        Relative accuracy of the study's own method at the same budget minus this one, paired; None
        for that method and for the dense model.
    tokens_in, tokens_out : float
        Visual tokens entering and left by a layer, mean over layers and samples, from the traces.
    flops : float
        Analytic operations of a prefill, mean over samples.
    """

    method: str
    tokens: int | None
    scores: dict[str, float]
    relative: Estimate
    ahead: Estimate | None
    tokens_in: float
    tokens_out: float
    flops: float


@dataclass(frozen=True)
class Results:
    """Everything that a table or figure of a study shows.

    Attributes
    ----------
    profile : Profile
        What was run, narrowed to the study.
    records : dict by (method, tokens, benchmark)
        What it was computed from.
    rows : tuple of Row
        Dense first, then by budget, methods in the profile's order.
    relative : dict by (method, tokens) of float arrays [1 + resamples]
        Resampled relative accuracies, paired across settings.
    scores : dict by (method, tokens, benchmark) of float arrays [1 + resamples]
        Resampled scores of each benchmark, in the unit of the paper's column, paired likewise.
    ours : str
        The method whose lead over the others is shown.
    """

    profile: Profile
    records: dict[tuple[str, int | None, str], Record]
    rows: tuple[Row, ...]
    relative: dict[Setting, np.ndarray]
    scores: dict[tuple[str, int | None, str], np.ndarray] = field(default_factory=dict)
    ours: str = OURS

    @property
    def ids(self) -> list[str]:
        """The ids of the records, for the provenance of a figure."""
        return [record.id for record in self.records.values()]

    def row(self, setting: Setting) -> Row:
        """Return the row of a setting."""
        return next(row for row in self.rows if (row.method, row.tokens) == setting)

    def score(self, setting: Setting, benchmark: str) -> Estimate:
        """Return the score of one benchmark with its interval."""
        return statistics.estimate(self.scores[(*setting, benchmark)])

    def difference(self, first: Setting, second: Setting) -> Estimate:
        """Return the relative accuracy of `first` minus that of `second`, in points, paired."""
        return statistics.estimate(self.relative[first] - self.relative[second])

    def score_difference(self, benchmark: str, first: Setting, second: Setting) -> Estimate:
        """Return the score of `first` minus that of `second` on one benchmark, paired."""
        ends = [self.scores[(*setting, benchmark)] for setting in (first, second)]
        return statistics.estimate(ends[0] - ends[1])


def settings_of(profile: Profile) -> list[Setting]:
    """Return the rows of the table in order."""
    return [DENSE_SETTING] + [(m, b) for b in profile.budgets for m in profile.methods]


def measure(profile: Profile | str, study: str, ours: str = OURS) -> Results:
    """Return a study of a profile from its finished records.

    Parameters
    ----------
    profile : Profile or str
        Whole; it is narrowed here.
    study : str
        Name in `studies.STUDIES`.
    ours : str
        The method whose lead over the others is wanted.

    Raises
    ------
    FileNotFoundError
        Some runs are not finished; the message says how to run them.
    """
    chosen = as_profile(profile).for_study(study)
    sizes = backend_of(chosen.model).sizes(chosen.model)
    return from_records(chosen, load_records(chosen), sizes, ours)


def from_records(
    profile: Profile, records: Iterable[Record], sizes: ModelSizes, ours: str = OURS
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
    ours : str
        As of `measure`.

    Raises
    ------
    ValueError
        A record is missing, or two methods answered different samples.
    """
    by_run = {(r.run.method, r.run.tokens, r.run.benchmark): r for r in records}
    settings = settings_of(profile)
    wanted = {(*setting, name) for setting in settings for name in profile.benchmarks}
    if missing := wanted - by_run.keys():
        first = min(missing, key=str)
        raise ValueError(f"{len(missing)} records are missing, among them {first}")
    # Benchmark by benchmark, so that the draws of one are made once.
    by_run = {key: by_run[key] for key in sorted(wanted, key=lambda key: (key[2], str(key)))}
    scores = _resampled_scores(by_run, profile.benchmarks)
    relative = {
        setting: statistics.relative_accuracy(
            [scores[(*setting, name)] for name in profile.benchmarks],
            [scores[(*DENSE_SETTING, name)] for name in profile.benchmarks],
        )
        for setting in settings
    }
    found = Results(profile, by_run, (), relative, scores, ours)
    rows = tuple(_row(setting, found, sizes) for setting in settings)
    return Results(profile, by_run, rows, relative, scores, ours)


def _resampled_scores(by_run: Mapping, benchmarks: Sequence[str]) -> dict[tuple, np.ndarray]:
    """Scores on the samples and on every resample; one seed per benchmark, so methods pair."""
    scores, first = {}, {}
    for key, record in by_run.items():
        benchmark = BENCHMARKS[key[2]]
        table = statistics.stats_of_groups(record.predictions, benchmark.sample_stats)
        statistics.check_paired(first.setdefault(key[2], table), table)
        seed = statistics.SEED + benchmarks.index(key[2])
        scores[key] = statistics.resampled_scores(table, benchmark.aggregate, seed=seed)
    return scores


def _row(setting: Setting, found: Results, sizes: ModelSizes) -> Row:
    method, tokens = setting
    names = found.profile.benchmarks
    records = [found.records[(*setting, name)] for name in names]
    own = (found.ours, tokens)
    compare = own in found.relative and own != setting
    return Row(
        method=method,
        tokens=tokens,
        scores={name: float(found.scores[(*setting, name)][0]) for name in names},
        relative=statistics.estimate(found.relative[setting]),
        ahead=found.difference(own, setting) if compare else None,
        tokens_in=fmean(record.tokens_in for record in records),
        tokens_out=fmean(record.tokens_out for record in records),
        flops=fmean(_flops(row, sizes) for record in records for row in record.predictions),
    )


def _flops(row: Mapping, sizes: ModelSizes) -> float:
    return prefill_flops([n + row["text_tokens"] for n in row["tokens_in"]], sizes)
