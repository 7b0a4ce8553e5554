"""What text guidance really buys: SparseVLM against methods that look at nothing.

Random tokens, a uniform grid, and the picture at a lower resolution cost no thought; a method that
does not beat them has not shown that its choice of tokens is worth anything. SparseVLM with all
text tokens rating is the fourth control: the same method without the selection of raters.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.analysis import study, study_views, study_words
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import OURS, Results
from sparsevlm.analysis.study_drawing import budget_axis, draw_estimates, measured_title, spread
from sparsevlm.analysis.study_views import Section, frame, interval, notes, readable, title
from sparsevlm.analysis.study_words import count_signs, in_words, label, maybe_chance
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.profiles import Profile

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

BLIND = ("random", "uniform", "pooled")
ALL_TEXT = "sparsevlm-all-text"
GUIDED = (OURS, ALL_TEXT)
BY_BENCHMARK_TITLE = "SparseVLM minus each control, benchmark by benchmark (points)"


def measure(profile: Profile | str) -> Results:
    """Return the controls of a profile from finished records; errors as of `study.measure`."""
    return study.measure(profile, "controls")


def leads(results: Results, guided: str) -> dict[tuple[int, str], Estimate]:
    """Return a text-guided method minus every blind control, by (budget, control), paired."""
    return {
        (tokens, control): results.difference((guided, tokens), (control, tokens))
        for tokens in results.profile.budgets
        for control in BLIND
    }


def by_benchmark(results: Results) -> pd.DataFrame:
    """Return SparseVLM minus each control on each benchmark, as text with paired intervals."""
    import pandas as pd

    rows = {
        (str(tokens), label(control)): [
            interval(results.score_difference(name, (OURS, tokens), (control, tokens)), "+")
            for name in results.profile.benchmarks
        ]
        for tokens in results.profile.budgets
        for control in (*BLIND, ALL_TEXT)
    }
    columns = [BENCHMARKS[name].paper_column for name in results.profile.benchmarks]
    table = pd.DataFrame(list(rows.values()), columns=columns)
    table.index = pd.MultiIndex.from_tuples(list(rows), names=["budget", "minus"])
    return table


def summary(results: Results) -> list[str]:
    """Return what the comparisons say together, in words that follow the numbers."""
    lines = [
        count_signs(list(leads(results, guided).values()), label(guided), "a blind control")
        for guided in GUIDED
    ]
    for tokens in results.profile.budgets:
        raters = results.difference((OURS, tokens), (ALL_TEXT, tokens))
        best = max(BLIND, key=lambda name: results.row((name, tokens)).relative.value)
        over = results.difference((OURS, tokens), (best, tokens))
        lines.append(
            f"At {tokens} tokens the selection of raters is worth {in_words(raters)}"
            f"{maybe_chance(raters)}; against the strongest blind control, {label(best)}, "
            f"SparseVLM stands at {in_words(over)}{maybe_chance(over)}."
        )
    return lines


def costs(results: Results) -> str:
    """Return a sentence on what the controls compute at the same budget."""
    tokens = min(results.profile.budgets)
    parts = [
        f"{label(method)} {results.row((method, tokens)).tokens_in:.0f}"
        for method in (OURS, *BLIND)
    ]
    return (
        f"Equal budgets are not equal costs: at {tokens} tokens a layer processes on average "
        f"{', '.join(parts)} visual tokens. The pooled grid is smaller before the first layer, the "
        "others are cut after it."
    )


def sentences(results: Results) -> list[str]:
    """Return every control against SparseVLM, answer by answer, in words."""
    return [one.sentence for one in study_words.controls(results, (*BLIND, ALL_TEXT))]


def sections(results: Results) -> list[Section]:
    """Return the tables and the comparison."""
    return [
        Section("What text guidance buys", sentences=[*summary(results), costs(results)]),
        Section(title(results), readable(results), notes(results)),
        Section(BY_BENCHMARK_TITLE, by_benchmark(results)),
        Section("Every control, answer by answer", sentences=sentences(results)),
    ]


def save(results: Results, folder: str | Path = "figures") -> list[Path]:
    """Write controls.md, .csv and .html; arguments as of `study_views.save`."""
    numbers = frame(results)
    numbers.insert(0, "model", title(results))
    return study_views.save("controls", results.profile, numbers, sections(results), folder)


def figure(results: Results) -> Figure:
    """Return accuracy against budget, and SparseVLM minus each control with paired intervals."""
    import matplotlib.pyplot as plt

    from sparsevlm.analysis.style import figure_size, use_style

    use_style()
    fig, (here, apart) = plt.subplots(1, 2, figsize=figure_size(2, 3.0))
    budgets, methods = sorted(results.profile.budgets), (OURS, ALL_TEXT, *BLIND)
    for method, shift in zip(methods, spread(len(methods), 0.018), strict=True):
        at = [b * (1 + shift) for b in budgets]
        found = [results.row((method, b)).relative for b in budgets]
        draw_estimates(here, at, found, method)
        if method != OURS:
            ahead = [results.difference((OURS, b), (method, b)) for b in budgets]
            draw_estimates(apart, at, ahead, method)
    here.axhline(100, color="black", linewidth=0.8, linestyle=":", zorder=1, label="Dense")
    apart.axhline(0, color="black", linewidth=0.8, linestyle=":", zorder=1)
    for axes in (here, apart):
        budget_axis(axes, budgets)
    here.set_ylabel("accuracy relative to dense (%)")
    apart.set_ylabel("SparseVLM minus the control (points)")
    apart.set_title("below zero: the control is better")
    fig.legend(
        *here.get_legend_handles_labels(), loc="outside upper center", ncols=6,
        title=measured_title(results.profile).replace("\n", ", "), title_fontsize=7,
    )  # fmt: skip
    return fig
