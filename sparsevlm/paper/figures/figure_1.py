"""Figure 1: one picture, three questions; what the question changes, and where it changes nothing.

Compute, then draw: `measure` runs the miniature, `draw` and the tables need what it returned only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.analysis import ask

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sparsevlm.runtime.trace import SampleTrace

SCENE = 7
ASKED: tuple[tuple[str, str], ...] = (
    ("what letter is on the white card ?", "S"),
    ("which side is the purple ring on ?", "middle"),
    ("is there a orange frame in the image ?", "yes"),
)
GUIDED = "sparsevlm"
AGNOSTIC = ("tome", "uniform")


@dataclass(frozen=True)
class Asked:
    """One question under one method: the words that rated, the trace, both answers."""

    question: str
    words: tuple[str, ...]
    sample: SampleTrace
    answer: str
    reference: str


@dataclass(frozen=True)
class Found:
    """What the figure shows.

    Attributes
    ----------
    scene_seed : int
    tokens : int
        The budget.
    asked : dict
        Per method, one `Asked` per question.
    focus : dict
        Per method, the `focus` of questions that nobody chose, ``[questions]``.
    area : ndarray
        Share of the picture that the named objects cover in these, ``[questions]``.
    """

    scene_seed: int
    tokens: int
    asked: dict[str, list[Asked]]
    focus: dict[str, np.ndarray]
    area: np.ndarray


def measure(
    profile: str = "mini",
    tokens: int = 64,
    scene_seed: int = SCENE,
    asked: Sequence[tuple[str, str]] = ASKED,
    num_questions: int = 32,
) -> Found:
    """Ask the three questions under every method, and measure `focus` on drawn questions.

    Parameters
    ----------
    profile : str
    tokens : int
        The budget.
    scene_seed : int
    asked : sequence of (question, true answer)
    num_questions : int
        How many questions are drawn for `focus`.
    """
    from sparsevlm.methods import make_pruner

    shape = ask.shape(profile)
    pruners = {name: make_pruner(name, tokens=tokens, **shape) for name in (GUIDED, *AGNOSTIC)}
    found: dict[str, list[Asked]] = {name: [] for name in pruners}
    for name, pruner in pruners.items():
        for question, reference in asked:
            words, _, answer, trace = ask.answered(profile, scene_seed, question, pruner)
            found[name].append(Asked(question, words, trace.samples[0], answer, reference))
    drawn = ask.drawn_questions(num_questions)
    targets = [ask.target_of(seed, question) for seed, question, _ in drawn]
    focused = {
        name: np.array([
            focus(ask.traced(profile, seed, question, pruner), target)
            for (seed, question, _), target in zip(drawn, targets, strict=True)
        ])
        for name, pruner in pruners.items()
    }  # fmt: skip
    area = np.array([len(target) for target in targets]) / shape["num_visual"]
    return Found(scene_seed, tokens, found, focused, area)


def focus(sample: SampleTrace, target: Sequence[int]) -> float:
    """Share of the tokens left after the last cut that is about the target.

    A token counts by the share of its patches that show the target: a kept one by 0 or 1, a
    recycled or merged one by the share of its members.
    """
    cut, wanted = sample.stages[-1], set(target)
    merged = sum(len(wanted & set(group)) / len(group) for group in cut.groups)
    return (len(wanted & set(cut.kept)) + merged) / cut.num_left


def draw(found: Found) -> Figure:
    """Picture and measure on the left; guided survivors above, text-agnostic ones below."""
    from sparsevlm.analysis.panels import Canvas, draw_fates

    side, gap, left = 1.5, 0.16, 0.04
    canvas = Canvas(6.75, 4.55)
    columns = [left + (side + gap) * (1 + i) + 0.1 for i in range(len(found.asked[GUIDED]))]
    image = ask.scene_of(found.scene_seed).image
    grid = found.asked[GUIDED][0].sample.grid
    canvas.text(left, 0.07, "(a) the picture", weight="bold")
    draw_fates(canvas.panel(left, 0.56, side, side), image, grid)
    key = "bold line: what is asked for\nthin line: kept; tinted: recycled"
    canvas.text(left, 0.6 + side, key, size=6, color="#555555", linespacing=1.3)
    canvas.text(columns[0], 0.07, f"(b) SparseVLM, {found.tokens} tokens: the question decides",
                weight="bold", color=_colour(GUIDED))  # fmt: skip
    agnostic = _label(AGNOSTIC[0])
    canvas.text(columns[0], 2.49, f"(c) {agnostic}, {found.tokens} tokens: the question is not "
                "looked at", weight="bold", color=_colour(AGNOSTIC[0]))  # fmt: skip
    for x, asked, merged in zip(columns, found.asked[GUIDED], found.asked[AGNOSTIC[0]],
                                strict=True):  # fmt: skip
        _draw_question(canvas.panel(x, 0.26, side, 0.26), asked)
        _draw_kept(canvas.panel(x, 0.56, side, side), found.scene_seed, asked)
        _draw_merged(canvas.panel(x, 2.69, side, side), found.scene_seed, merged)
    canvas.text(left, 2.49, "(d) tokens left that show", weight="bold")
    canvas.text(left, 2.62, "what is asked for", weight="bold")
    _draw_focus(canvas.panel(left + 0.62, 2.86, side - 0.66, 1.1), found)
    return canvas.figure


def _colour(method: str) -> str:
    from sparsevlm.analysis.style import METHOD_STYLE

    return METHOD_STYLE[method].color


def _label(method: str) -> str:
    from sparsevlm.analysis.style import METHOD_STYLE

    return METHOD_STYLE[method].label


def _draw_question(axes: Axes, asked: Asked) -> None:
    from sparsevlm.analysis.survivors import draw_words

    axes.axis("off")
    words = asked.question.split()
    raters = asked.sample.stages[0].raters
    half = next(n for n in range(len(words)) if sum(map(len, words[: n + 1])) + n > 18)
    for start, end, y in ((0, half, 0.5), (half, len(words), 0.0)):
        rated = [i - start for i in raters if start <= i < end]
        draw_words(axes, words[start:end], rated, 0.0, y, 7)


def _draw_kept(axes: Axes, scene_seed: int, asked: Asked) -> None:
    from sparsevlm.analysis.panels import draw_answer, draw_fates, outline

    cut, grid = asked.sample.stages[-1], asked.sample.grid
    target = ask.target_of(scene_seed, asked.question)
    draw_fates(axes, ask.scene_of(scene_seed).image, grid, cut.kept, cut.groups)
    outline(axes, grid, target, "#111111", 1.1)
    draw_answer(axes, asked.answer, asked.reference, 0, -0.03, transform=axes.transAxes)
    left = len(set(target) & set(cut.kept))
    axes.text(1, -0.03, f"{left} of {len(target)} patches", transform=axes.transAxes, va="top",
              ha="right", size=6.5, color="#555555")  # fmt: skip


def _draw_merged(axes: Axes, scene_seed: int, asked: Asked) -> None:
    """The picture as the merged tokens show it: every token one colour, borders between them."""
    from sparsevlm.analysis.panels import bare, draw_answer, outline

    grid, cut = asked.sample.grid, asked.sample.stages[-1]
    picture = np.asarray(ask.scene_of(scene_seed).image, float)
    side = picture.shape[0] // grid[0]
    patches = picture.reshape(grid[0], side, grid[1], side, 3).mean((1, 3)).reshape(-1, 3)
    for group in cut.groups:
        patches[group] = patches[group].mean(0)
    axes.imshow(patches.reshape(*grid, 3).round().astype(np.uint8), interpolation="nearest",
                extent=(0, grid[1], grid[0], 0))  # fmt: skip
    bare(axes)
    outline(axes, grid, ask.target_of(scene_seed, asked.question), "#111111", 1.1)
    draw_answer(axes, asked.answer, asked.reference, 0, -0.03, transform=axes.transAxes)
    axes.text(1, -0.03, f"{cut.num_left} tokens, all merged" if not cut.kept else
              f"{len(cut.kept)} kept, {len(cut.groups)} merged", transform=axes.transAxes,
              va="top", ha="right", size=6.5, color="#555555")  # fmt: skip


def _draw_focus(axes: Axes, found: Found) -> None:
    methods = (GUIDED, *AGNOSTIC)
    for row, method in enumerate(methods):
        mean, low, high = 100 * ask.mean_and_interval(found.focus[method])
        axes.barh(row, mean, 0.62, color=_colour(method))
        axes.plot([low, high], [row, row], color="#222222", lw=0.9)
        axes.text(high + 1, row, f"{mean:.0f} %", va="center", size=6.5)
    axes.axvline(100 * found.area.mean(), color="#222222", lw=0.7, ls=(0, (3, 2)))
    axes.set_yticks(range(len(methods)), [_label(m) for m in methods])
    axes.invert_yaxis()
    axes.set_xlim(0, 100 * max(ask.mean_and_interval(found.focus[m])[2] for m in methods) * 1.3)
    axes.set_xlabel(f"mean of {len(found.area)} drawn\nquestions; dashes: chance", size=6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def table(found: Found) -> pd.DataFrame:
    """Every question of the picture under every method."""
    import pandas as pd

    rows = []
    for method, asked in found.asked.items():
        for one in asked:
            target = ask.target_of(found.scene_seed, one.question)
            rows.append(
                {
                    "method": method, "question": one.question, "answer": one.answer,
                    "truth": one.reference, "tokens left": one.sample.stages[-1].num_left,
                    "same tokens as question 1": _same(one.sample, asked[0].sample),
                    "focus": round(focus(one.sample, target), 3),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _same(one: SampleTrace, other: SampleTrace) -> bool:
    return all((a.kept, a.groups) == (b.kept, b.groups)
               for a, b in zip(one.stages, other.stages, strict=True))  # fmt: skip


def summary(found: Found) -> pd.DataFrame:
    """Focus on the drawn questions, in percent: mean and 95 % interval per method, and chance."""
    import pandas as pd

    every = {**found.focus, "chance (area)": found.area}
    rows = {name: 100 * ask.mean_and_interval(values) for name, values in every.items()}
    frame = pd.DataFrame(rows, index=["mean", "low", "high"]).T.round(1)
    return frame.rename_axis("method")
