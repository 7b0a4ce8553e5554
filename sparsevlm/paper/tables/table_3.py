"""Table 3: four video benchmarks at 194 visual tokens, beside the paper's own numbers.

study.py turns records into numbers; here every benchmark also has its own interval, and every
method a paired comparison with the dense model and with random tokens. Read next:
table_3_views.py (tables, sentences, files, the figure).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from sparsevlm.analysis import published, statistics, study
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import DENSE_SETTING, Results, Setting
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.backends import backend_of
from sparsevlm.evaluation.profiles import Profile, as_profile
from sparsevlm.evaluation.runs import Record, load_records
from sparsevlm.models.sizes import ModelSizes, kv_bytes

PAPER_MODEL = "Video-LLaVA-7B"
PAPER_METHODS = ("Dense", "FastV", "SparseVLM")
CONTROL = "random"


@dataclass(frozen=True)
class Row(study.Row):
    """One method at one budget, with what Tables 2 and 3 show beyond `study.Row`.

    Attributes
    ----------
    percent : dict of Estimate
        Percent of the dense model's score, by benchmark, paired.
    judged : dict of (float, float)
        The judge's accuracy in percent and mean score from 0 to 5, of benchmarks that were judged.
    against_dense, against_random : Estimate or None
        The mean score over the benchmarks minus that of the dense model, and of random tokens at
        the same budget, in points, paired; None for that model itself.
    kv : float
        Bytes of the keys and values of a prefill in half precision, mean over samples.
    """

    percent: dict[str, Estimate]
    judged: dict[str, tuple[float, float]]
    against_dense: Estimate | None
    against_random: Estimate | None
    kv: float


def measure(profile: Profile | str, name: str = "table_3") -> Results:
    """Return Table 3 of a profile, or another study in its form; errors as of `study.measure`.

    Returns
    -------
    Results
        Its rows are of this module's kind.
    """
    chosen = as_profile(profile).for_study(name)
    sizes = backend_of(chosen.model).sizes(chosen.model)
    return from_records(chosen, load_records(chosen), sizes)


def from_records(profile: Profile, records: Iterable[Record], sizes: ModelSizes) -> Results:
    """Return Table 3 from records; arguments and errors as of `study.from_records`."""
    base = study.from_records(profile, records, sizes)
    return replace(base, rows=tuple(_row(row, base, sizes) for row in base.rows))


def _row(row: study.Row, base: Results, sizes: ModelSizes) -> Row:
    setting, names = (row.method, row.tokens), base.profile.benchmarks
    records = {name: base.records[(*setting, name)] for name in names}
    lines = [line for record in records.values() for line in record.predictions]
    return Row(
        **vars(row),
        percent={name: _percent_of_dense(base, setting, name) for name in names},
        judged=_judged(records),
        against_dense=_against(base, setting, DENSE_SETTING),
        against_random=_against(base, setting, (CONTROL, row.tokens)),
        kv=fmean(_kv(line, sizes) for line in lines),
    )


def _percent_of_dense(base: Results, setting: Setting, name: str) -> Estimate:
    drawn = [[base.scores[(*s, name)]] for s in (setting, DENSE_SETTING)]
    return statistics.estimate(statistics.relative_accuracy(*drawn))


def _against(base: Results, setting: Setting, rival: Setting) -> Estimate | None:
    if rival == setting or rival not in base.relative:
        return None
    names = base.profile.benchmarks
    means = [np.mean([base.scores[(*s, n)] for n in names], axis=0) for s in (setting, rival)]
    return statistics.estimate(means[0] - means[1])


def _kv(row: Mapping, sizes: ModelSizes) -> float:
    return kv_bytes([n + row["text_tokens"] for n in row["tokens_in"]], sizes)


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
