"""The programs called SparseVLM on the same samples, under both ways to count tokens.

The paper counts the tokens that a layer leaves; what is computed are those that enter it. A method
can meet the budget by one count and be dearer than another by the other. The video release has
settings for videos only; `table_3` measures it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.analysis import study, study_views
from sparsevlm.analysis.study import Results
from sparsevlm.analysis.study_drawing import draw_estimates, measured_title, spread, tokens_axis
from sparsevlm.analysis.study_views import Section, frame, notes, readable, title
from sparsevlm.analysis.study_words import in_words, label, maybe_chance
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.methods import METHODS
from sparsevlm.paper.tables import study_analytic

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

REFERENCE = "sparsevlm"
ANALYTIC_TITLE = "LLaVA-1.5-7B, by our formulas: tokens and FLOPs of the variants with fixed counts"


def measure(profile: Profile | str) -> Results:
    """Return the variants of a profile from finished records; errors as of `study.measure`."""
    return study.measure(profile, "variants", REFERENCE)


def analytic(results: Results) -> pd.DataFrame:
    """Return both counts and the FLOPs on LLaVA-1.5-7B as text.

    Only of the variants whose counts follow the budget: those that go by the rank have none without
    a question.
    """
    fixed = [m for m in results.profile.methods if m in study_analytic.FIXED_COUNTS]
    return study_analytic.readable(fixed, results.profile.budgets)


def sentences(results: Results) -> list[str]:
    """Return every variant against the v1.5 release at the same setting, in words."""
    lines = []
    for tokens in results.profile.budgets:
        own = results.row((REFERENCE, tokens))
        for method in (m for m in results.profile.methods if m != REFERENCE):
            row = results.row((method, tokens))
            found = results.difference((method, tokens), (REFERENCE, tokens))
            meets = "" if METHODS[method].meets_budget else " (its counts follow the question)"
            lines.append(
                f"At {tokens} tokens {label(method)} minus {label(REFERENCE)} (v1.5): "
                f"{in_words(found)}{maybe_chance(found)}. It leaves {row.tokens_out:.1f} tokens "
                f"and processes {row.tokens_in:.1f}{meets}; v1.5 leaves {own.tokens_out:.1f} and "
                f"processes {own.tokens_in:.1f}."
            )
    return lines


def sections(results: Results) -> list[Section]:
    """Return the tables and the comparison."""
    return [
        Section(title(results), readable(results), notes(results)),
        Section(ANALYTIC_TITLE, analytic(results)),
        Section("Against the v1.5 release", sentences=sentences(results)),
    ]


def save(results: Results, folder: str | Path = "figures") -> list[Path]:
    """Write variants.md, .csv and .html; arguments as of `study_views.save`."""
    numbers = frame(results)
    numbers.insert(0, "model", title(results))
    return study_views.save("variants", results.profile, numbers, sections(results), folder)


def figure(results: Results) -> Figure:
    """Return accuracy against the tokens left, and against the tokens processed."""
    import matplotlib.pyplot as plt

    from sparsevlm.analysis.style import figure_size, use_style

    use_style()
    fig, panels = plt.subplots(1, 2, figsize=figure_size(2, 3.0), sharey=True)
    counts = (
        ("tokens_out", "visual tokens left by a layer (the paper's budget)"),
        ("tokens_in", "visual tokens entering a layer (what is computed)"),
    )
    for axes, (field, name) in zip(panels, counts, strict=True):
        drawn = []
        methods = results.profile.methods
        for method, shift in zip(methods, spread(len(methods), 0.012), strict=True):
            rows = [results.row((method, b)) for b in sorted(results.profile.budgets)]
            at = [(1 + shift) * getattr(row, field) for row in rows]  # or the whiskers hide
            draw_estimates(axes, at, [row.relative for row in rows], method)
            drawn += at
        axes.axhline(100, color="black", linewidth=0.8, linestyle=":", zorder=1, label="Dense")
        tokens_axis(axes, drawn, name)
    panels[0].set_ylabel("accuracy relative to dense (%)")
    fig.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5,
        title=measured_title(results.profile).replace("\n", ", "), title_fontsize=7,
    )  # fmt: skip
    return fig
