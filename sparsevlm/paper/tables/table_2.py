"""Table 2: three benchmarks on pictures of any size, beside the paper's numbers for Qwen2-VL.

Records become numbers as in Table 3 (`table_3.measure`): every benchmark with its interval, every
method paired with the dense model and with random tokens. Read next: table_2_views.py.
"""

from __future__ import annotations

from statistics import fmean

from sparsevlm.analysis import published
from sparsevlm.analysis.study import OURS, Results
from sparsevlm.evaluation.plan import DENSE
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.paper.tables import table_3
from sparsevlm.paper.tables.table_3 import Row, from_records

__all__ = [
    "OURS", "PAPER_MODEL", "Results", "average", "from_records", "mean_visual", "measure",
    "published_retained", "published_rows",
]  # fmt: skip

PAPER_MODEL = "Qwen2-VL-7B"


def measure(profile: Profile | str) -> Results:
    """Return Table 2 of a profile from its finished records; errors as of `study.measure`."""
    return table_3.measure(profile, "table_2")


def average(row: Row) -> float:
    """Return the plain mean of the scores, as the paper's last column."""
    return fmean(row.scores.values())


def mean_visual(results: Results) -> dict[str, tuple[float, int, int]]:
    """Return mean, smallest and largest number of visual tokens of a picture, by benchmark.

    They are the tokens that enter the first layer of the dense model, one count per sample.
    """
    found = {}
    for name in results.profile.benchmarks:
        rows = results.records[DENSE, None, name].predictions
        counts = [row["tokens_in"][0] for row in rows]
        found[name] = (fmean(counts), min(counts), max(counts))
    return found


def published_rows() -> dict[int | None, dict[str, float]]:
    """Return the paper's numbers by budget and measure; the dense row under None."""
    found: dict[int | None, dict[str, float]] = {}
    for row in published.rows("table2", model=PAPER_MODEL):
        budget = None if row.visual_tokens == "dynamic" else int(row.visual_tokens)
        found.setdefault(budget, {})[row.measure] = row.value
    return found


def published_retained(budget: int) -> float:
    """Return the paper's mean of the percentages of the dense scores at a budget, recomputed."""
    paper = published_rows()
    columns = [c for c in paper[budget] if c != "average"]
    return fmean(100 * paper[budget][c] / paper[None][c] for c in columns)
