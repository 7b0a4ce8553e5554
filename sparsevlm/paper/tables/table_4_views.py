"""Table 4 for the eye: tables in the paper's layout, sentences, files, and gain against budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.analysis import study_views
from sparsevlm.analysis.accounting import tokens_out
from sparsevlm.analysis.study import Results
from sparsevlm.analysis.study_drawing import budget_axis, draw_estimates, measured_title, spread
from sparsevlm.analysis.study_views import PAPER, Section, interval, made_at, number, title
from sparsevlm.analysis.study_words import HERE, in_words, maybe_chance, verdict
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.paper.tables.table_4 import (
    NAMES,
    READINGS,
    WITH,
    budgets,
    gain,
    gains,
    growth,
    published_score,
    score,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PAPER_TITLE = f"LLaVA-1.5-7B, as published ({PAPER}, Table 4)"
TOKENS_TITLE = "Visual tokens left by a layer, mean over layers"
MEAN = "Avg."


def frame(results: Results) -> pd.DataFrame:
    """Return every number once, unrounded: one row per benchmark, method and budget.

    Returns
    -------
    DataFrame
        Columns: benchmark, method, tokens; score, low, high; the gain of reconstruction over this
        row with its paired interval (empty for the method itself); published score and gain; visual
        tokens in and out, mean over layers, samples and both benchmarks.
    """
    import pandas as pd

    rows = []
    for name in results.profile.benchmarks:
        for method in (WITH, *READINGS):
            for tokens in budgets(results):
                found, row = score(results, method, name, tokens), results.row((method, tokens))
                over = None if method == WITH else gain(results, method, name, tokens)
                rows.append(
                    {
                        "benchmark": BENCHMARKS[name].paper_column,
                        "method": method,
                        "tokens": tokens,
                        **study_views.ends("score", found, "score"),
                        **study_views.ends("gain", over and over.measured, "gain"),
                        "published score": published_score(method, name, [tokens]),
                        "published gain": over and over.published,
                        "tokens in": row.tokens_in,
                        "tokens out": row.tokens_out,
                    }
                )
    return pd.DataFrame(rows)


def readable(results: Results) -> pd.DataFrame:
    """Return the measured table as text: scores, and under each reading the gain over it."""
    rows = {}
    for name in results.profile.benchmarks:
        column = BENCHMARKS[name].paper_column
        for method in (*READINGS, WITH):
            places = (*budgets(results), None)
            rows[column, NAMES[method]] = [
                number(score(results, method, name, tokens).value) for tokens in places
            ]
        for reading in READINGS:
            rows[column, f"gain over {NAMES[reading]}"] = [
                interval(one.measured, "+")
                for one in gains(results)
                if (one.benchmark, one.reading) == (name, reading)
            ]
    return _table(rows, results)


def readable_published(results: Results) -> pd.DataFrame:
    """Return the paper's table as text, with the gain that it implies."""
    rows = {}
    for name in results.profile.benchmarks:
        column = BENCHMARKS[name].paper_column
        places = [[tokens] for tokens in budgets(results)] + [budgets(results)]
        for method in (READINGS[0], WITH):
            kind = "with" if method == WITH else "without"
            rows[column, kind] = [number(published_score(method, name, at)) for at in places]
        rows[column, "gain"] = [
            f"{one.published:+.1f}"
            for one in gains(results)
            if (one.benchmark, one.reading) == (name, READINGS[0])
        ]
    return _table(rows, results)


def tokens_table(results: Results) -> pd.DataFrame:
    """Return as text how many tokens the three methods leave, here and on LLaVA-1.5-7B."""
    rows = {}
    for method in (*READINGS, WITH):
        left = [results.row((method, tokens)).tokens_out for tokens in budgets(results)]
        paper = [tokens_out(method, tokens) for tokens in budgets(results)]
        for where, counts in ((results.profile.model, left), ("LLaVA-1.5-7B (analytic)", paper)):
            mean = sum(counts) / len(counts)
            rows[where, NAMES[method]] = [number(count) for count in (*counts, mean)]
    return _table(dict(sorted(rows.items(), reverse=True)), results, ("model", "reconstruction"))


def _table(
    rows: dict, results: Results, names: tuple[str, str] = ("benchmark", "reconstruction")
) -> pd.DataFrame:
    import pandas as pd

    columns = [*map(str, budgets(results)), MEAN]
    table = pd.DataFrame(list(rows.values()), columns=columns, dtype=object)
    table.index = pd.MultiIndex.from_tuples(list(rows), names=names)
    return table


def sentences(results: Results) -> list[str]:
    """Return the paper's gains, and whether they and their growth are found here, in words."""
    few, *_, many = budgets(results)
    lines = []
    for name in results.profile.benchmarks:
        label = BENCHMARKS[name].label
        for reading in READINGS:
            mean, larger = gain(results, reading, name, None), growth(results, reading, name)
            ends = [gain(results, reading, name, tokens).published for tokens in (few, many)]
            lines += [
                f"{label}: the paper gains {mean.published:+.1f} points on average. "
                f"{NAMES[WITH].capitalize()} minus {NAMES[reading]} is here "
                f"{in_words(mean.measured)}; {HERE[verdict(mean.measured)]}.",
                f"{label}: the paper's gain is {ends[0] - ends[1]:+.1f} points larger at {few} "
                f"than at {many} tokens. Over {NAMES[reading]} the same difference is here "
                f"{in_words(larger)}{maybe_chance(larger)}.",
            ]
    return lines


def notes(results: Results) -> str:
    """Return how to read the measured table."""
    return (
        "Brackets are 95 % intervals from a paired bootstrap over questions, not corrected for the "
        "number of comparisons; gains are in points. Refilled: as many tokens are left as the "
        "budget says, all of them kept. Not refilled: the tokens kept are those of SparseVLM, and "
        "what it would recycle is lost, so that fewer are left. The paper does not say which it "
        f"measured.{made_at(results)}"
    )


def sections(results: Results) -> list[Section]:
    """Return the tables and the comparison."""
    return [
        Section(title(results), readable(results), notes(results)),
        Section(TOKENS_TITLE, tokens_table(results)),
        Section(PAPER_TITLE, readable_published(results)),
        Section("Does the gain hold?", sentences=sentences(results)),
    ]


def save(results: Results, folder: str | Path = "figures") -> list[Path]:
    """Write table_4.md, .csv and .html; arguments as of `study_views.save`."""
    numbers = frame(results)
    numbers.insert(0, "model", title(results))
    return study_views.save("table_4", results.profile, numbers, sections(results), folder)


def figure(results: Results) -> Figure:
    """Return the gain of reconstruction against the budget, and the paper's, per benchmark."""
    import matplotlib.pyplot as plt

    from sparsevlm.analysis.style import METHOD_STYLE, figure_size, use_style

    use_style()
    names, at = results.profile.benchmarks, budgets(results)
    fig, panels = plt.subplots(
        1, len(names), figsize=figure_size(2, 2.9), sharex=True, sharey=True, squeeze=False
    )
    for axes, name in zip(panels[0], names, strict=True):
        for reading, shift in zip(READINGS, spread(len(READINGS), 0.03), strict=True):
            found = [gain(results, reading, name, tokens) for tokens in at]
            places = [tokens * (1 + shift) for tokens in at]
            label = f"measured, over {NAMES[reading]}"
            draw_estimates(axes, places, [one.measured for one in found], reading, label=label)
        axes.plot(
            at, [one.published for one in found], color=METHOD_STYLE[WITH].colour, linestyle="--",
            marker="o", markerfacecolor="white", label="published, LLaVA-1.5-7B",
        )  # fmt: skip
        axes.axhline(0, color="black", linewidth=0.8, linestyle=":", zorder=1)
        budget_axis(axes, at)
        axes.set_title(BENCHMARKS[name].label)
    panels[0][0].set_ylabel("gain of token reconstruction (points)")
    fig.legend(
        *panels[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=3,
        title=measured_title(results.profile).replace("\n", ", "), title_fontsize=7,
    )  # fmt: skip
    return fig
