"""Figure 4: accuracy of Mini-Gemini on three benchmarks by the number of tokens kept."""

from __future__ import annotations

from collections import Counter
from statistics import fmean

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsevlm.analysis import drawing, published, tables, words
from sparsevlm.analysis.report import Report, Section, comparison, notes, title
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import DENSE_SETTING, OURS, Results, Setting
from sparsevlm.analysis.survivors import shortened
from sparsevlm.analysis.tables import ends, interval, number
from sparsevlm.analysis.words import label
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.benchmarks.registry import accuracy_by_kind

PAPER_MODEL = "Mini-Gemini-7B"
PAPER = published.by_setting("figure4")
PAPER_TITLE = f"{PAPER_MODEL}, read off the published figure ({tables.PAPER}, Figure 4; ±0.3)"
SPLIT_BENCHMARK = "textvqa"


def published_score(setting: Setting, benchmark: str) -> float | None:
    """Return a point of the paper's figure; None where it has none."""
    return PAPER.get(setting, {}).get(BENCHMARKS[benchmark].paper_column)


def orderings(results: Results) -> dict[tuple[str, str, int], Estimate]:
    """Return SparseVLM's lead by (benchmark, rival, tokens) of every comparison of the figure.

    By labels, in points of the score. In all of them the paper has SparseVLM ahead. The intervals
    are of single comparisons; nothing is corrected for their number.
    """
    known = {method for method, _ in PAPER} - {OURS}
    return {
        (BENCHMARKS[name].label, label(rival), tokens): results.score_difference(
            name, (OURS, tokens), (rival, tokens)
        )
        for name in results.profile.benchmarks
        for rival in results.profile.methods if rival in known
        for tokens in results.profile.budgets if (rival, tokens) in PAPER
    }  # fmt: skip


def ranking(results: Results) -> Section:
    """Return for every comparison of the figure whether it holds here, and how many of them do."""
    found = orderings(results)
    agree, contradict, open_ = words.count_verdicts(list(found.values()))
    cells = {key: words.cell(apart) for key, apart in found.items()}
    return Section(
        "Does the ranking hold?",
        tables.grid(cells, ("benchmark", "SparseVLM above"), results.profile.budgets),
        f"Of the {len(found)} comparisons of the figure, in all of which the paper has "
        f"SparseVLM ahead, the measurement reproduces {agree}, contradicts {contradict}, and "
        f"cannot tell {open_}. Numbers are points of the score.",
    )


def leads(results: Results) -> Section:
    """Return the mean lead of SparseVLM over every other method, budget by budget.

    In relative accuracy: the mean over the benchmarks of the percentages of the dense scores. The
    paper's text says 9.2 points over FastV at 256 tokens and 20.4 at 64, "averaged".
    """
    found, paper = {}, {}
    for other in (m for m in results.profile.methods if m != OURS):
        for tokens in results.profile.budgets:
            key = label(OURS), label(other), tokens
            found[key] = results.difference((OURS, tokens), (other, tokens))
            if (other, tokens) in PAPER:
                paper[key] = _published_lead(results, other, tokens)
    heading = "SparseVLM's mean lead over the benchmarks"
    return comparison(heading, found, paper, text="The paper's from its points.")


def _published_lead(results: Results, other: str, tokens: int) -> float:
    relative = []
    for name in results.profile.benchmarks:
        ours, theirs, dense = (
            published_score(one, name) for one in ((OURS, tokens), (other, tokens), DENSE_SETTING)
        )
        relative.append(100 * (ours - theirs) / dense)
    return fmean(relative)


def by_split(results: Results) -> pd.DataFrame:
    """Return the accuracy on TextVQA by kind of text, by (budget, method), unrounded.

    Only the high-resolution tower resolves small print, and it lies on few visual tokens.
    """
    rows = []
    for setting in results.settings:
        answers = results.records[(*setting, SPLIT_BENCHMARK)].predictions
        found = accuracy_by_kind(SPLIT_BENCHMARK, answers)
        counts = found["split_questions"]
        rows.append({f"{k or 'all'} ({counts[k]})": 100 * v for k, v in found["splits"].items()})
    return tables.by_setting(rows, results.settings)


def data(results: Results) -> pd.DataFrame:
    """Return everything that the figure draws, one row per point.

    The source is "measured" or "published"; the dense model's tokens are empty, and so are the ends
    of the interval where a score was published.
    """
    rows = []
    for setting in results.settings:
        for name in results.profile.benchmarks:
            key = {"benchmark": name, "method": setting[0], "tokens": setting[1]}
            score = ends("score", results.get("score", setting, name), "score")
            rows.append({"source": "measured", "model": title(results), **key, **score})
            paper = {"source": "published", "model": PAPER_MODEL, **key}
            if (value := published_score(setting, name)) is not None:
                rows.append({**paper, "score": value})
    return pd.DataFrame(rows).astype({"tokens": "Int64"}).sort_values("source", kind="stable")


def page(results: Results) -> list[Section]:
    """Return both tables, the comparisons in words, and the small print."""
    scores, names = tables.readable(results), results.profile.benchmarks
    for name in names:
        shown = [interval(results.get("score", setting, name)) for setting in results.settings]
        scores[BENCHMARKS[name].paper_column] = shown
    dense = ", ".join(
        f"{BENCHMARKS[name].label} {number(results.value('score', DENSE_SETTING, name))}"
        for name in names
    )
    columns = [BENCHMARKS[name].paper_column for name in names]
    return [
        Section(title(results), scores, f"Dense: {dense}. {notes(results)}"),
        Section(PAPER_TITLE, tables.as_text(tables.published(results)[columns])),
        ranking(results),
        leads(results),
        Section("TextVQA by kind of text (accuracy in %, questions in brackets)",
                tables.as_text(by_split(results))),
    ]  # fmt: skip


def figure(results: Results) -> Figure:
    """Return measured and published scores per benchmark, all on one scale."""
    names, methods = results.profile.benchmarks, results.profile.methods
    budgets = sorted(results.profile.budgets)
    fig, (above, below) = drawing.panels(2, len(names), 4.1, sharex=True, sharey=True)
    for name, upper, lower in zip(names, above, below, strict=True):
        drawing.draw_methods(
            upper, methods, budgets,
            lambda m, b, name=name: results.get("score", (m, b), name), step=0.035,
        )  # fmt: skip
        for method in (m for m in methods if (m, budgets[0]) in PAPER):
            points = [published_score((method, b), name) for b in budgets]
            lower.plot(budgets, points, **drawing.line_style(method))
        _finish(upper, results.value("score", DENSE_SETTING, name), budgets)
        _finish(lower, published_score(DENSE_SETTING, name), budgets)
        upper.set_title(f"{BENCHMARKS[name].label}, measured")
        lower.set_title(f"{BENCHMARKS[name].label}, published")
        at_zero = (text for key, text in reasons_for_zero(results).items() if key[1] == name)
        for line, text in enumerate(at_zero):
            upper.text(0.97, 0.09 + 0.09 * line, text, ha="right", size=6, color="#555555",
                       transform=upper.transAxes)  # fmt: skip
    drawing.y_label([*above, *below], f"score ({BENCHMARKS[names[0]].unit})")
    where = f"{drawing.measured_title(results.profile)}\npublished: {PAPER_MODEL}, read off"
    drawing.legend_above(fig, [above[0]], len(methods) + 1, where)
    return fig


def reasons_for_zero(results: Results) -> dict[tuple[str, str], str]:
    """Return by (method, benchmark) what is answered where the score is 0 at every budget."""
    found = {}
    for method in results.profile.methods:
        for name in results.profile.benchmarks:
            settings = [(method, tokens) for tokens in results.profile.budgets]
            if any(results.value("score", setting, name) for setting in settings):
                continue
            rows = [r for s in settings for r in results.records[(*s, name)].predictions]
            ((answer, times),) = Counter(row["prediction"] for row in rows).most_common(1)
            share = 100 * times / len(rows)
            found[method, name] = f"{label(method)}: {share:.0f} % “{shortened(answer, 12)}”"
    return found


def _finish(axes: Axes, dense: float, budgets: list[int]) -> None:
    drawing.level_line(axes, dense, "Dense")
    drawing.budget_axis(axes, budgets, "visual tokens")
    axes.set_ylim(-4, 104)


REPORT = Report("figure_4", page, figure, data=data, paper=PAPER)
measure = REPORT.measure
