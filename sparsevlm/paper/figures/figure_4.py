"""Figure 4: accuracy of Mini-Gemini on three benchmarks by the number of tokens kept.

Records become numbers in study.py; here they become the figure, its table and sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from sparsevlm.analysis import published, study
from sparsevlm.analysis.study import DENSE_SETTING, OURS, Results, Setting
from sparsevlm.analysis.study_views import (
    PAPER,
    Section,
    ends,
    frame,
    indexed,
    interval,
    notes,
    number,
    readable,
    save,
    title,
)
from sparsevlm.analysis.study_words import (
    AGREES,
    CANNOT_TELL,
    CONTRADICTS,
    HERE,
    in_words,
    label,
    maybe_chance,
    verdict,
)
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.plan import DENSE
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.methods import METHODS

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "PAPER_MODEL", "by_split", "counted", "data", "leads", "measure", "orderings",
    "published_frame", "published_points", "readable", "sections", "title", "write",
]  # fmt: skip

STUDY = "figure_4"
PAPER_MODEL = "Mini-Gemini-7B"
PAPER_TITLE = f"{PAPER_MODEL}, read off the published figure ({PAPER}, Figure 4; ±0.3)"
SPLIT_BENCHMARK = "textvqa"


def measure(profile: Profile | str) -> Results:
    """Return the study of a profile from its finished records; errors as of `study.measure`."""
    return study.measure(profile, STUDY)


def published_points(method: str, benchmark: str) -> dict[int, float]:
    """Return the paper's points of a curve: score by budget; empty where it has none.

    Parameters
    ----------
    method : str
        Name in `sparsevlm.METHODS`; "dense" has one point, the line at the top.
    benchmark : str
        Name in `sparsevlm.benchmarks.BENCHMARKS`.
    """
    name, column = METHODS[method].label, BENCHMARKS[benchmark].paper_column
    rows = published.rows("figure4", model=PAPER_MODEL)
    return {
        int(row.visual_tokens): row.value
        for row in rows
        if (row.method, row.measure) == (name, column)
    }


def rivals(results: Results) -> list[str]:
    """Return the methods that the paper's figure draws beside SparseVLM and that were run here."""
    methods = (m for m in results.profile.methods if m != OURS)
    return [m for m in methods if published_points(m, results.profile.benchmarks[0])]


# --- In words ----------------------------------------------------------------------------------


def orderings(results: Results) -> list[tuple[str, str]]:
    """Return (sentence, verdict) of every comparison that the figure shows.

    SparseVLM against each rival, benchmark by benchmark, budget by budget. The intervals are of
    single comparisons; nothing is corrected for their number.
    """
    found = []
    for rival in rivals(results):
        for benchmark in results.profile.benchmarks:
            for tokens in results.profile.budgets:
                here = results.score_difference(benchmark, (OURS, tokens), (rival, tokens))
                paper = published_points(OURS, benchmark)[tokens]
                paper -= published_points(rival, benchmark)[tokens]
                found.append(
                    (
                        f"{BENCHMARKS[benchmark].label} at {tokens} tokens, SparseVLM minus "
                        f"{label(rival)}: {paper:+.1f} in the paper; {HERE[verdict(here)]}: "
                        f"{in_words(here)}.",
                        verdict(here),
                    )
                )
    return found


def counted(results: Results) -> str:
    """Return how many of the paper's orderings hold here, in one sentence."""
    verdicts = [verdict for _, verdict in orderings(results)]
    agree, contradict, open_ = (verdicts.count(v) for v in (AGREES, CONTRADICTS, CANNOT_TELL))
    return (
        f"Of the {len(verdicts)} comparisons of the figure, in all of which the paper has "
        f"SparseVLM ahead, the measurement reproduces {agree}, contradicts {contradict}, and "
        f"cannot tell {open_}."
    )


def leads(results: Results) -> list[str]:
    """Return the mean lead of SparseVLM over every other method, budget by budget, in words.

    In relative accuracy: the mean over the benchmarks of the percentages of the dense scores. The
    paper's text says 9.2 points over FastV at 256 tokens and 20.4 at 64, "averaged".
    """
    lines = []
    for other in (m for m in results.profile.methods if m != OURS):
        for tokens in results.profile.budgets:
            here = results.difference((OURS, tokens), (other, tokens))
            lines.append(
                f"At {tokens} tokens SparseVLM minus {label(other)}: {in_words(here)}"
                f"{maybe_chance(here)}; {_published_lead(results, other, tokens)}."
            )
    return lines


def _published_lead(results: Results, other: str, tokens: int) -> str:
    names = results.profile.benchmarks
    if not all(published_points(other, name) for name in names):
        return "the paper's figure has no such curve"
    relative = []
    for name in names:
        (dense,) = published_points(DENSE, name).values()
        gap = published_points(OURS, name)[tokens] - published_points(other, name)[tokens]
        relative.append(100 * gap / dense)
    return f"from the points of the paper's figure {fmean(relative):+.1f}"


# --- Small print -------------------------------------------------------------------------------


def by_split(results: Results) -> pd.DataFrame:
    """Return the accuracy on TextVQA by kind of text, and how much is lost of it.

    Only the high-resolution tower resolves small print, and it lies on few visual tokens.

    Returns
    -------
    DataFrame
        Rows by (budget, method); per split the mean score in percent, unrounded.
    """
    import pandas as pd

    rows = [_splits(results, setting) for setting in study.settings_of(results.profile)]
    return indexed(pd.DataFrame(rows), results)


def _splits(results: Results, setting: Setting) -> dict[str, float]:
    judge = BENCHMARKS[SPLIT_BENCHMARK].score_sample
    scores: dict[str, list[float]] = {}
    for row in results.records[(*setting, SPLIT_BENCHMARK)].predictions:
        scores.setdefault(row["split"] or "all", []).append(float(judge(row)))
    return {f"{kind} ({len(v)})": 100 * fmean(v) for kind, v in sorted(scores.items())}


# --- Tables and files --------------------------------------------------------------------------


def published_frame(results: Results) -> pd.DataFrame:
    """Return the paper's points in the rows of the measured table; empty where it has none."""
    import pandas as pd

    rows = []
    for method, tokens in study.settings_of(results.profile):
        row = {}
        for name in results.profile.benchmarks:
            points = published_points(method, name)
            value = next(iter(points.values())) if method == DENSE else points.get(tokens)
            row[BENCHMARKS[name].paper_column] = value
        rows.append(row)
    return indexed(pd.DataFrame(rows), results)


def data(results: Results) -> pd.DataFrame:
    """Return everything that the figure draws, one row per point.

    Returns
    -------
    DataFrame
        Columns: source ("measured" or "published"), model, benchmark, method, tokens (the dense
        model's are empty), score, and the ends of its interval where it is measured.
    """
    import pandas as pd

    rows = []
    for method, tokens in study.settings_of(results.profile):
        for name in results.profile.benchmarks:
            key = {"benchmark": name, "method": method, "tokens": tokens}
            score = ends("score", results.score((method, tokens), name), "score")
            rows.append({"source": "measured", "model": title(results), **key, **score})
            points = published_points(method, name)
            values = points.values() if method == DENSE else filter(None, [points.get(tokens)])
            paper = {"source": "published", "model": PAPER_MODEL, **key}
            rows += [{**paper, "score": value} for value in values]
    return pd.DataFrame(rows).astype({"tokens": "Int64"}).sort_values("source", kind="stable")


def sections(results: Results) -> Sequence[Section]:
    """Return the page: both tables, the comparisons in words, the small print."""
    scores = readable(results)
    for name in results.profile.benchmarks:
        shown = [interval(results.score(s, name)) for s in study.settings_of(results.profile)]
        scores[BENCHMARKS[name].paper_column] = shown
    dense = {name: number(results.score(DENSE_SETTING, name).value)
             for name in results.profile.benchmarks}  # fmt: skip
    said = ", ".join(f"{BENCHMARKS[name].label} {value}" for name, value in dense.items())
    return [
        Section(title(results), scores, f"Dense: {said}. {notes(results)}"),
        Section(PAPER_TITLE, published_frame(results).map(number).astype(object)),
        Section("Does the ranking hold?", text=counted(results),
                sentences=[sentence for sentence, _ in orderings(results)]),
        Section("Mean lead over the benchmarks", sentences=leads(results)),
        Section("TextVQA by kind of text (accuracy in %, questions in brackets)",
                by_split(results).map(number).astype(object)),
    ]  # fmt: skip


def write(results: Results, folder: str | Path = "figures") -> list[Path]:
    """Write figure_4.md, figure_4.csv and figure_4.html; see `study_views.save`."""
    numbers = frame(results)
    numbers.insert(0, "model", title(results))
    return save(STUDY, results.profile, numbers, sections(results), folder)
