"""Table 3: four video benchmarks at 194 visual tokens, beside the paper's own numbers.

Records become numbers as in Table 1 (`table_1.from_records`); here every benchmark also has its own
interval, and every method a paired comparison with the dense model and with random tokens. Read
next: table_3_views.py (tables, sentences, files, the figure).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.reproduce import published, statistics, table_1
from sparsevlm.reproduce.cells import Record, load_records
from sparsevlm.reproduce.flops import DecoderShape, kv_bytes
from sparsevlm.reproduce.plan import DENSE, as_profile, source_of
from sparsevlm.reproduce.profiles import Profile
from sparsevlm.reproduce.statistics import Estimate

PAPER_MODEL = "Video-LLaVA-7B"
PAPER_METHODS = ("Dense", "FastV", "SparseVLM")
CONTROL = "random"


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
        Share of matching answers in percent, by benchmark.
    percent : dict of Estimate
        Percent of the dense model's share, by benchmark, paired.
    judged : dict of (float, float)
        The judge's accuracy in percent and mean score from 0 to 5, of benchmarks that were judged.
    relative : Estimate
        Mean of the percentages over the benchmarks.
    against_dense, against_random : Estimate or None
        The mean accuracy over the benchmarks minus that of the dense model, and of random tokens at
        the same budget, in points, paired; None for that model itself.
    tokens_in, tokens_out : float
        Visual tokens entering and left by a layer, mean over layers and samples, from the traces.
    flops, kv : float
        Analytic operations of a prefill and bytes of its keys and values in half precision, means
        over samples.
    """

    method: str
    tokens: int | None
    scores: dict[str, float]
    percent: dict[str, Estimate]
    judged: dict[str, tuple[float, float]]
    relative: Estimate
    against_dense: Estimate | None
    against_random: Estimate | None
    tokens_in: float
    tokens_out: float
    flops: float
    kv: float


@dataclass(frozen=True)
class Results:
    """Everything Table 3 shows.

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
    relative: dict[table_1.Setting, np.ndarray]

    def difference(self, first: table_1.Setting, second: table_1.Setting) -> Estimate:
        """Return the relative accuracy of `first` minus that of `second`, in points, paired."""
        return statistics.estimate(self.relative[first] - self.relative[second])


def measure(profile: Profile | str) -> Results:
    """Return Table 3 of a profile from its finished records.

    Raises
    ------
    FileNotFoundError
        Some cells are not finished; the message says how to run them.
    """
    profile = as_profile(profile).for_study("table_3")
    decoder = source_of(profile).shape(profile.model).decoder
    return from_records(profile, load_records(profile), decoder)


def from_records(profile: Profile, records: Iterable[Record], decoder: DecoderShape) -> Results:
    """Return Table 3 from records; arguments and errors as of `table_1.from_records`."""
    base = table_1.from_records(profile, records, decoder)
    scores = {
        setting: [_resampled(base, setting, name) for name in profile.benchmarks]
        for setting in table_1.settings_of(profile)
    }
    rows = tuple(_row(row, base, scores, decoder) for row in base.rows)
    return Results(profile, base.records, rows, base.relative)


def _resampled(base: table_1.Results, setting: table_1.Setting, name: str) -> np.ndarray:
    """Scores on the samples and on every resample; one seed per benchmark, so methods pair."""
    benchmark = BENCHMARKS[name]
    table = statistics.count_groups(base.records[(*setting, name)].predictions, benchmark.counts)
    seed = statistics.SEED + base.profile.benchmarks.index(name)
    return statistics.resampled_scores(table, benchmark.headline, seed=seed)


def _row(row: table_1.Row, base: table_1.Results, scores: Mapping, decoder: DecoderShape) -> Row:
    setting, names = (row.method, row.tokens), base.profile.benchmarks
    records = [base.records[(*setting, name)] for name in names]
    pairs = dict(zip(names, zip(scores[setting], scores[DENSE, None], strict=True), strict=True))

    def against(rival: table_1.Setting) -> Estimate | None:
        if rival == setting or rival not in scores:
            return None
        means = [np.mean(scores[s], axis=0) for s in (setting, rival)]
        return statistics.estimate(means[0] - means[1])

    return Row(
        method=row.method,
        tokens=row.tokens,
        scores=row.scores,
        percent={
            name: statistics.estimate(statistics.relative_accuracy([mine], [dense]))
            for name, (mine, dense) in pairs.items()
        },
        judged=_judged(dict(zip(names, records, strict=True))),
        relative=row.relative,
        against_dense=against((DENSE, None)),
        against_random=against((CONTROL, row.tokens)),
        tokens_in=row.tokens_in,
        tokens_out=row.tokens_out,
        flops=row.flops,
        kv=fmean(_kv(line, decoder) for record in records for line in record.predictions),
    )


def _kv(row: Mapping, decoder: DecoderShape) -> float:
    return kv_bytes([n + row["text_tokens"] for n in row["tokens_in"]], decoder)


def _judged(records: Mapping[str, Record]) -> dict[str, tuple[float, float]]:
    """The judge's two numbers of every benchmark whose answers carry verdicts."""
    found = {}
    for name, record in records.items():
        judge = BENCHMARKS[name].score(record.predictions).get("judge")
        if judge and judge["judged"]:
            found[name] = (judge["accuracy"], judge["score"])
    return found


def published_rows() -> dict[str, dict[str, float]]:
    """Return the paper's numbers by method (dense, FastV, SparseVLM) and measure."""
    rows = published.rows("table3", model=PAPER_MODEL)
    return {name: {r.measure: r.value for r in rows if r.method == name} for name in PAPER_METHODS}


def published_relative(method: str) -> float:
    """Return the paper's mean of the four percentages of the dense accuracies, recomputed."""
    paper = published_rows()
    columns = [name for name in paper["Dense"] if name.endswith("QA_accuracy")]
    return fmean(100 * paper[method][name] / paper["Dense"][name] for name in columns)
