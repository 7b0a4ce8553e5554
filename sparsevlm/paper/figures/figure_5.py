"""Figure 5: who rates? All tokens, all text tokens, or the selected raters, at 64 tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsevlm.analysis import published, study
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import DENSE_SETTING, Results
from sparsevlm.analysis.study_drawing import measured_title, whiskers
from sparsevlm.analysis.study_views import ends, interval, number
from sparsevlm.analysis.study_words import HERE, in_words, label, verdict
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.profiles import Profile

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATERS = "sparsevlm"
# In the paper's order of bars, with the paper's names for them.
WHO = {
    "sparsevlm-all-tokens": "SparseVLM rated by all tokens",
    "sparsevlm-all-text": "SparseVLM rated by all text tokens",
    RATERS: "SparseVLM rated by text raters",
}
NAMES = {"sparsevlm-all-tokens": "all tokens", "sparsevlm-all-text": "all text", RATERS: "raters"}


def measure(profile: Profile | str) -> Results:
    """Return the runs of a profile from its finished records; errors as of `study.measure`."""
    return study.measure(profile, "figure_5")


def published_score(method: str, benchmark: str, tokens: int) -> float:
    """Return the height of a bar of the paper's figure."""
    return published.value("figure5", WHO[method], tokens, BENCHMARKS[benchmark].paper_column)


def lead(results: Results, benchmark: str, method: str) -> Estimate:
    """Return the score with raters minus that with others rating, in points, paired."""
    (tokens,) = results.profile.budgets
    return results.score_difference(benchmark, (RATERS, tokens), (method, tokens))


def frame(results: Results) -> pd.DataFrame:
    """Return what is drawn: one row per benchmark and bar, numbers unrounded.

    Returns
    -------
    DataFrame
        Columns: benchmark, who rates; score, low, high; the lead of the raters with its paired
        interval; the published score; visual tokens in and out.
    """
    import pandas as pd

    (tokens,) = results.profile.budgets
    rows = []
    for name in results.profile.benchmarks:
        for method in WHO:
            row = results.row((method, tokens))
            over = None if method == RATERS else lead(results, name, method)
            rows.append(
                {
                    "benchmark": BENCHMARKS[name].paper_column,
                    "who rates": NAMES[method],
                    **ends("score", results.score((method, tokens), name), "score"),
                    **ends("raters ahead by", over, "ahead"),
                    "published score": published_score(method, name, tokens),
                    "tokens in": row.tokens_in,
                    "tokens out": row.tokens_out,
                }
            )
    return pd.DataFrame(rows)


def readable(results: Results) -> pd.DataFrame:
    """Return the same as text, the dense model's scores above."""
    import pandas as pd

    (tokens,) = results.profile.budgets
    rows = {}
    for name in results.profile.benchmarks:
        column = BENCHMARKS[name].paper_column
        dense = interval(results.score(DENSE_SETTING, name))
        rows[column, "dense, nothing pruned"] = [dense, "–", "–"]
        for method in WHO:
            over = "–" if method == RATERS else interval(lead(results, name, method), "+")
            rows[column, NAMES[method]] = [
                interval(results.score((method, tokens), name)),
                over,
                number(published_score(method, name, tokens)),
            ]
    columns = ["score here", "raters ahead by", "paper, LLaVA-1.5-7B"]
    table = pd.DataFrame(list(rows.values()), columns=columns)
    table.index = pd.MultiIndex.from_tuples(list(rows), names=["benchmark", "who rates"])
    return table


def sentences(results: Results) -> list[str]:
    """Return whether the raters are ahead here as they are in the paper, in words."""
    (tokens,) = results.profile.budgets
    lines = []
    for name in results.profile.benchmarks:
        for method in (m for m in WHO if m != RATERS):
            paper = published_score(RATERS, name, tokens) - published_score(method, name, tokens)
            found = lead(results, name, method)
            lines.append(
                f"{BENCHMARKS[name].label}: raters minus {NAMES[method]} is {paper:+.1f} points in "
                f"the paper and here {in_words(found)}; {HERE[verdict(found)]}."
            )
    return lines


def draw(results: Results) -> Figure:
    """Return bars with intervals on the left, the paper's bars on the right."""
    import matplotlib.pyplot as plt

    from sparsevlm.analysis.style import figure_size, use_style

    use_style()
    (tokens,) = results.profile.budgets
    names = results.profile.benchmarks
    fig, (here, paper) = plt.subplots(1, 2, figsize=figure_size(2, 2.8))
    for place, method in enumerate(WHO):
        at = [i + 0.27 * (place - 1) for i in range(len(names))]
        found = [results.score((method, tokens), name) for name in names]
        heights = [one.value for one in found]
        look = {"elinewidth": 0.8, "capsize": 2}
        _bars(here, at, heights, method, yerr=whiskers(found), error_kw=look)
        _bars(paper, at, [published_score(method, name, tokens) for name in names], method)
    for axes in (here, paper):
        axes.set_xticks(range(len(names)), [BENCHMARKS[name].label for name in names])
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="y")
        axes.set_ylim(0, 112)
        axes.set_yticks(range(0, 101, 20))
    here.set_title(measured_title(results.profile))
    paper.set_title("published: LLaVA-1.5-7B\nFigure 5 of the paper")
    here.set_ylabel(f"score at {tokens} tokens")
    fig.legend(
        *here.get_legend_handles_labels(), loc="outside upper center", ncols=3,
        title="who rates the visual tokens", title_fontsize=7,
    )  # fmt: skip
    return fig


def _bars(axes: Axes, at: list[float], heights: list[float], method: str, **how: object) -> None:
    from sparsevlm.analysis.style import METHOD_STYLE

    colour = METHOD_STYLE[method].colour
    axes.bar(at, heights, 0.25, color=colour, label=NAMES[method], **how)
    for x, height in zip(at, heights, strict=True):
        inside = {"ha": "center", "va": "bottom", "size": 6, "color": "white"}
        axes.text(x, 2, f"{height:.1f}", **inside)


def title(results: Results) -> str:
    """Return what the table is of."""
    from sparsevlm.analysis import study_views

    (tokens,) = results.profile.budgets
    return f"{study_views.title(results)}, {label(RATERS)} at {tokens} tokens"
