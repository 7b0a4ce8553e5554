"""Table 1: eight benchmarks, methods and budgets, beside the paper's own numbers.

This file turns records into numbers. Read next: table_1_compare.py (does the paper's ranking hold
here?) and table_1_views.py (tables, files, the figure).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from sparsevlm.baselines import METHODS
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.reproduce import published, statistics
from sparsevlm.reproduce.cells import Record, load_records
from sparsevlm.reproduce.flops import DecoderShape, prefill_flops
from sparsevlm.reproduce.plan import DENSE, as_profile, source_of
from sparsevlm.reproduce.profiles import Profile
from sparsevlm.reproduce.statistics import Estimate

OURS = "sparsevlm"
PAPER_DENSE_TOKENS = 576

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
        Relative accuracy of SparseVLM at the same budget minus this one, paired.
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
    """Everything Table 1 shows.

    Attributes
    ----------
    profile : Profile
        What was run.
    records : dict by (method, tokens, benchmark)
        What it was computed from.
    rows : tuple of Row
        Dense first, then by budget, methods in the profile's order.
    relative : dict by (method, tokens) of float arrays [1 + resamples]
        Resampled relative accuracies, paired across settings.
    """

    profile: Profile
    records: dict[tuple[str, int | None, str], Record]
    rows: tuple[Row, ...]
    relative: dict[Setting, np.ndarray]

    def difference(self, first: Setting, second: Setting) -> Estimate:
        """Return the relative accuracy of `first` minus that of `second`, in points, paired."""
        return statistics.estimate(self.relative[first] - self.relative[second])


def settings_of(profile: Profile) -> list[Setting]:
    """Return the rows of the table in order."""
    return [(DENSE, None)] + [(m, b) for b in profile.budgets for m in profile.methods]


def measure(profile: Profile | str) -> Results:
    """Return Table 1 of a profile from its finished records.

    Raises
    ------
    FileNotFoundError
        Some cells are not finished; the message says how to run them.
    """
    profile = as_profile(profile).for_study("table_1")
    decoder = source_of(profile).shape(profile.model).decoder
    return from_records(profile, load_records(profile), decoder)


def from_records(profile: Profile, records: Iterable[Record], decoder: DecoderShape) -> Results:
    """Return Table 1 from records.

    Parameters
    ----------
    profile : Profile
        Names methods, budgets and benchmarks.
    records : iterable of Record
        At least one per setting and benchmark.
    decoder : DecoderShape
        Of the model that answered.

    Raises
    ------
    ValueError
        A record is missing, or two methods answered different samples.
    """
    by_cell = {(r.cell.method, r.cell.tokens, r.cell.benchmark): r for r in records}
    settings = settings_of(profile)
    wanted = {(*setting, name) for setting in settings for name in profile.benchmarks}
    if missing := wanted - by_cell.keys():
        raise ValueError(f"{len(missing)} records are missing, among them {sorted(missing)[0]}")
    by_cell = {key: by_cell[key] for key in wanted}
    scores = _resampled_scores(by_cell, profile.benchmarks)
    relative = {
        setting: statistics.relative_accuracy(
            [scores[(*setting, name)] for name in profile.benchmarks],
            [scores[(DENSE, None, name)] for name in profile.benchmarks],
        )
        for setting in settings
    }
    rows = tuple(_row(s, profile, by_cell, scores, relative, decoder) for s in settings)
    return Results(profile, by_cell, rows, relative)


def _resampled_scores(by_cell: Mapping, benchmarks: Sequence[str]) -> dict[tuple, np.ndarray]:
    """Scores on the samples and on every resample; one seed per benchmark, so methods pair."""
    scores, first = {}, {}
    for key, record in by_cell.items():
        benchmark = BENCHMARKS[key[2]]
        table = statistics.count_groups(record.predictions, benchmark.counts)
        statistics.check_paired(first.setdefault(key[2], table), table)
        seed = statistics.SEED + benchmarks.index(key[2])
        scores[key] = statistics.resampled_scores(table, benchmark.headline, seed=seed)
    return scores


def _row(
    setting: Setting,
    profile: Profile,
    by_cell: Mapping,
    scores: Mapping,
    relative: Mapping,
    decoder: DecoderShape,
) -> Row:
    method, tokens = setting
    records = [by_cell[(*setting, name)] for name in profile.benchmarks]
    rival = (OURS, tokens)
    compare = rival in relative and rival != setting
    return Row(
        method=method,
        tokens=tokens,
        scores={name: float(scores[(*setting, name)][0]) for name in profile.benchmarks},
        relative=statistics.estimate(relative[setting]),
        ahead=statistics.estimate(relative[rival] - relative[setting]) if compare else None,
        tokens_in=fmean(record.tokens_in for record in records),
        tokens_out=fmean(record.tokens_out for record in records),
        flops=fmean(_flops(row, decoder) for record in records for row in record.predictions),
    )


def _flops(row: Mapping, decoder: DecoderShape) -> float:
    return prefill_flops([n + row["text_tokens"] for n in row["tokens_in"]], decoder)


def published_row(method: str, tokens: int | None) -> dict[str, float]:
    """Return the paper's numbers for a setting by measure; empty where it has no such row."""
    rows = published.rows("table1", model="LLaVA-1.5-7B")
    name, budget = METHODS[method].label, PAPER_DENSE_TOKENS if tokens is None else tokens
    return {r.measure: r.value for r in rows if (r.method, r.visual_tokens) == (name, budget)}
