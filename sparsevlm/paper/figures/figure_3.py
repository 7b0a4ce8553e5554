"""Figure 3: how relevant every word of a prompt is to the picture, and which words rate.

Compute, then draw: `measure` runs the miniature, `draw` and `table` need what it returned only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparsevlm.analysis.observe import Observation, observe

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Four kinds of questions; two where the rule finds the words that matter, two where it does not.
ASKED: tuple[tuple[str, int, str, str], ...] = (
    ("GQA", 4, "which side is the green hourglass on ?", "left"),
    ("POPE", 7, "is there a orange frame in the image ?", "yes"),
    ("TextVQA", 6, "what letter is on the brown card ?", "Z"),
    ("MMBench", 6, "which side is the yellow cross on ? A left B middle C right", "B"),
)


@dataclass(frozen=True)
class Prompt:
    """One prompt of the figure.

    Attributes
    ----------
    kind : str
        The benchmark that asks such questions.
    reference : str
        The true answer.
    raters, all_text : Observation
        Pruned with the words above the mean as raters, and with every word as a rater.
    """

    kind: str
    reference: str
    raters: Observation
    all_text: Observation


def measure(
    profile: str = "mini",
    tokens: int = 64,
    asked: Sequence[tuple[str, int, str, str]] = ASKED,
) -> list[Prompt]:
    """Ask every question twice; errors as in `observe`.

    Parameters
    ----------
    profile : str
    tokens : int
        The budget.
    asked : sequence of (kind, scene seed, question, true answer)
    """
    return [
        Prompt(
            kind, reference, observe(profile, seed, question, tokens),
            observe(profile, seed, question, tokens, raters="all_text"),
        )
        for kind, seed, question, reference in asked
    ]  # fmt: skip


def draw(found: Sequence[Prompt]) -> Figure:
    """One row per prompt: picture, relevance of the words, survivors with raters and without."""
    from sparsevlm.analysis.panels import Canvas

    step, first = 1.24, 0.42
    canvas = Canvas(6.75, first + step * len(found) + 0.04)
    for title, x in (("all words rate", 4.75), ("raters only", 5.76)):
        canvas.text(x + 0.47, 0.2, title, size=7.5, ha="center")
    canvas.text(1.36, 0.2, "relevance r of the words to the picture", size=7.5)
    canvas.text(5.725, 0.05, "patches left after the last cut", size=7.5, ha="center", color="#555")
    for row, prompt in enumerate(found):
        _draw_row(canvas, prompt, first + row * step)
    return canvas.figure


def _draw_row(canvas, prompt: Prompt, top: float) -> None:
    from sparsevlm.analysis.panels import draw_answer, draw_fates, outline

    side, seen = 0.94, prompt.raters
    grid = seen.sample.grid
    axes = canvas.panel(0.03, top, side, side)
    draw_fates(axes, seen.image, grid)
    outline(axes, grid, seen.target, "white", 0.9)
    canvas.text(0.03, top + side + 0.035, prompt.kind, size=6.5, color="#555555")
    _draw_words(canvas, prompt, 1.36, top)
    for x, run in ((4.75, prompt.all_text), (5.76, prompt.raters)):
        axes = canvas.panel(x, top, side, side)
        cut = run.sample.stages[-1]
        draw_fates(axes, run.image, grid, cut.kept)
        outline(axes, grid, run.target, "#111111", 0.9)
        draw_answer(axes, run.answer, prompt.reference, 0, -0.04, transform=axes.transAxes,
                    size=6.5)  # fmt: skip


def _draw_words(canvas, prompt: Prompt, left: float, top: float) -> None:
    from sparsevlm.analysis.panels import RATERS, draw_sentence

    seen, width = prompt.raters, 3.28
    bars = canvas.panel(left, top, width, 0.68)
    line = canvas.panel(left, top + 0.74, width, 0.2)
    line.axis("off")
    line.set_ylim(-1, 1)
    places = draw_sentence(line, seen.words, seen.relevance, seen.raters)
    colours = [RATERS if i in seen.raters else "#c9c9c9" for i in range(len(seen.words))]
    middle = places.mean(axis=1)
    bars.bar(middle, seen.relevance, width=0.13, color=colours)
    bars.set(xlim=(0, width), xticks=[], ylim=(0, 1), yticks=[0, 0.5, 1])
    mean = 1 / len(seen.words)
    bars.axhline(mean, color="#333333", lw=0.7, ls=(0, (4, 2)), zorder=0.5)
    bars.text(width, mean, "mean", size=6, ha="right", va="bottom", color="#333333")
    bars.tick_params(labelsize=6)


def table(found: Sequence[Prompt]) -> pd.DataFrame:
    """Every word of every prompt: its relevance, the mean, and whether it rates."""
    import pandas as pd

    rows = [
        {
            "kind": prompt.kind, "question": prompt.raters.question, "position": index,
            "word": word, "relevance": float(prompt.raters.relevance[index]),
            "mean": 1 / len(prompt.raters.words), "rates": index in prompt.raters.raters,
        }
        for prompt in found
        for index, word in enumerate(prompt.raters.words)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def summary(found: Sequence[Prompt]) -> pd.DataFrame:
    """Per prompt and choice of raters: the target's patches that are left, and the answer."""
    import pandas as pd

    rows = []
    for prompt in found:
        for who, run in (("raters only", prompt.raters), ("all words rate", prompt.all_text)):
            kept = set(run.sample.stages[-1].kept)
            rows.append(
                {
                    "kind": prompt.kind, "who rates": who, "raters": len(run.raters),
                    "patches of the target": len(run.target),
                    "of these left": len(kept & set(run.target)),
                    "answer": run.answer, "truth": prompt.reference,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)
