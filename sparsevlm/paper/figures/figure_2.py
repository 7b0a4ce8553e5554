"""Figure 2: the method, drawn from one real forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsevlm.analysis.drawing import log_y_axis
from sparsevlm.analysis.examples import SceneQuestion, choose_examples, examples_of
from sparsevlm.analysis.observe import RecordedExample, StageBreakdown, record
from sparsevlm.analysis.panels import Canvas, draw_map, draw_relevance, draw_stage, ramp, shortened
from sparsevlm.analysis.survivors import bare
from sparsevlm.evaluation.loaded import load_model
from sparsevlm.evaluation.profiles import Profile, as_profile

ASKED = (SceneQuestion("POPE", 7, "is there a orange frame in the image ?", "yes"),)
KEPT, RECYCLED, DROPPED, TEXT = "#D55E00", "#56B4E9", "#d9d9d9", "#555555"
_LEFT = (0.04, 1.66, 3.54, 5.24)  # of the four panels of the middle row, in inches
_SIDE = 1.38
_FEW_LAYERS = 12  # every one has room for its name and its number


@dataclass(frozen=True)
class Figure2Data:
    """One recorded run, and the number of the stage that is shown."""

    about: str
    run: RecordedExample
    number: int

    @property
    def stage(self) -> StageBreakdown:
        """The stage that is shown."""
        return self.run.breakdowns[self.number]


def measure(
    profile: Profile | str, tokens: int = 64, stage: int = 1, image: str = "", question: str = ""
) -> Figure2Data:
    """Ask the question under SparseVLM and take one pruning stage apart, counted from 0.

    `image` and `question` are the user's own, see `choose_examples`.

    Raises
    ------
    ValueError
        There are not so many stages.
    """
    loaded = load_model(as_profile(profile))
    examples = examples_of(loaded)
    (example,) = choose_examples(examples, ASKED, image, question)
    run = record(loaded, example, tokens)
    if not 0 <= stage < len(run.stages):
        raise ValueError(f"stage must be from 0 to {len(run.stages) - 1}, got {stage}")
    return Figure2Data(examples.about([example]), run, stage)


def table(data: Figure2Data) -> pd.DataFrame:
    """Every visual token before the stage: patch, rating by every rater, score, status."""
    stage, run = data.stage, data.run
    frame = pd.DataFrame({"token": stage.source})
    for word, row in zip((run.words[i] for i in run.raters), stage.rating, strict=True):
        frame[f"P, {word}"] = row
    frame["score"] = stage.scores
    frame["fate"] = np.array(["kept", "recycled", "dropped"])[stage.status]
    return frame


def summary(run: RecordedExample) -> pd.DataFrame:
    """All stages of a run in numbers: rank, kept, recycled, dropped, and the lambda behind it."""
    rows = []
    for stage, traced in zip(run.breakdowns, run.sample.stages, strict=True):
        kept, recycled, dropped = (int((stage.status == code).sum()) for code in range(3))
        rows.append(
            {
                "after layer": stage.layer, "tokens before": len(stage.status),
                "rank of P": stage.rank, "kept": kept, "recycled": recycled, "dropped": dropped,
                "tokens after": traced.num_left, "lambda": round(stage.lam, 3),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def draw(data: Figure2Data) -> Figure:
    """Who rates, P, scores, level, token status, and the visual tokens of every layer."""
    parts = [(0, 0, 3.25, 1.8), (3.5, 0, 6.75, 1.8)]
    parts += [(x - 0.04, 1.8, x + 1.58, 3.7) for x in _LEFT] + [(0, 3.7, 6.75, 5.0)]
    canvas = Canvas(6.75, 5.0, parts)
    run, number, layer = data.run, data.number, data.stage.layer
    _step(canvas, 0.04, 0.06, 1, "Which words rate?  relevance r, before layer 0")
    words = canvas.panel(0.06, 0.24, 3.16, 1.1)
    draw_relevance(words, run.words, run.relevance, run.raters, bar=0.5)
    note = "every patch votes for the word nearest to it;\nr: share of the votes; dashes: mean"
    canvas.text(0.06, 1.38, note, size=6.5, color=TEXT, linespacing=1.3)
    _step(canvas, 3.62, 0.06, 2, f"P: attention of the raters, layer {layer}")
    _draw_rating(canvas, data)
    middle = 1.82
    titles = ("before the cut", "scores: mean of P", "level: how many stay",
              "keep, recycle, drop")  # fmt: skip
    for place, (x, title) in enumerate(zip(_LEFT, titles, strict=True)):
        _step(canvas, x, middle, place + 2, title, shown=place > 0)
    before = canvas.panel(_LEFT[0], middle + 0.2, _SIDE, _SIDE)
    draw_stage(before, run, number - 1 if number else None, width=1.2, color="#111111")
    _count(before, run, number - 1)
    scores = canvas.panel(_LEFT[1], middle + 0.2, _SIDE, _SIDE)
    draw_map(scores, run.on_grid(number, data.stage.scores), run.grid, KEPT, run.target)
    scores.set_xlabel("grey: dropped before", size=6.5, color=TEXT, labelpad=2)
    _draw_level(canvas.panel(_LEFT[2] + 0.27, middle + 0.2, 1.17, _SIDE), data)
    after = canvas.panel(_LEFT[3], middle + 0.2, _SIDE, _SIDE)
    draw_stage(after, run, number, width=1.2)
    _count(after, run, number)
    _step(canvas, 0.04, 3.72, 6, "visual tokens by layer (blue: merged; dashes: cuts)")
    _draw_layers(canvas.panel(0.52, 3.92, canvas.width - 0.65, 0.74), data)
    return canvas.figure


def _step(canvas: Canvas, x: float, y: float, number: int, title: str, shown: bool = True) -> None:
    if shown:
        canvas.text(x + 0.075, y + 0.055, str(number), size=6.5, weight="bold", color="white",
                    ha="center", va="center",
                    bbox={"boxstyle": "circle,pad=0.2", "facecolor": KEPT, "lw": 0})  # fmt: skip
    canvas.text(x + (0.2 if shown else 0.0), y, title, size=7, weight="bold")


def _draw_rating(canvas: Canvas, data: Figure2Data) -> None:
    stage, run = data.stage, data.run
    rows, x, width = len(run.raters), 4.1, 2.6
    height = min(0.3, 0.72 / rows)
    shown = {"aspect": "auto", "cmap": ramp(KEPT), "interpolation": "nearest", "vmin": 0, "vmax": 1}
    parts = (
        (0.3, height * rows, stage.rating, [shortened(run.words[i], 12) for i in run.raters]),
        (0.3 + height * rows + 0.13, 0.2, stage.scores[None], ["mean"]),
    )
    for y, high, values, names in parts:
        axes = canvas.panel(x, y, width, high)
        axes.imshow(np.sqrt(values / np.percentile(values, 99.5)), **shown)
        bare(axes)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0, labelsize=max(6, min(6.5, 65 * high / len(names))))
    count, gone = len(stage.status), int((stage.status > 0).sum())
    text = (f"{count} visual tokens, rank(P) = {stage.rank}\n{gone} go = λ ({count} − "
            f"{stage.rank}), so λ is {stage.lam:.2f}")  # fmt: skip
    canvas.text(x + width, 1.3, text, size=6.5, ha="right", color=TEXT, linespacing=1.4)


def _count(axes: Axes, run: RecordedExample, number: int) -> None:
    if number < 0:
        text = f"{run.sample.num_visual} tokens"
    else:
        stage = run.sample.stages[number]
        text = f"{len(stage.kept)} patches + {len(stage.groups)} merged"
    axes.set_xlabel(text, size=6.5, color=TEXT, labelpad=2)


def _draw_level(axes: Axes, data: Figure2Data) -> None:
    stage = data.stage
    order = np.argsort(-stage.scores, kind="stable")
    place, lowest = np.arange(1, len(order) + 1), max(stage.scores.min() / 2, 1e-9)
    new = data.run.sample.stages[data.number].num_left - int((stage.status == 0).sum())
    names = ("kept", f"merged into {new}", "dropped")
    for code, (color, name) in enumerate(zip((KEPT, RECYCLED, DROPPED), names, strict=True)):
        mine = stage.status[order] == code
        axes.vlines(place[mine], lowest, stage.scores[order][mine], color=color, lw=0.6)
        axes.text(0.98, 0.95 - 0.11 * code, f"{mine.sum()} {name}", transform=axes.transAxes,
                  ha="right", va="top", size=6.5, color="#888888" if code == 2 else color,
                  weight="bold")  # fmt: skip
    log_y_axis(axes)
    axes.set(xlim=(0, len(order) + 1), ylim=(lowest, None))
    axes.set_xlabel("tokens by score", size=6.5, labelpad=1)
    axes.tick_params(labelsize=6, pad=1)


def _draw_layers(axes: Axes, data: Figure2Data) -> None:
    sample, light, written = data.run.sample, 0, None
    groups = {stage.layer: len(stage.groups) for stage in sample.stages}
    few = len(sample.tokens_in) <= _FEW_LAYERS
    for layer, entering in enumerate(sample.tokens_in):
        axes.bar(layer, entering - light, 0.72, color=KEPT)
        axes.bar(layer, light, 0.72, bottom=entering - light, color=RECYCLED)
        if few or entering != written:
            axes.text(layer, entering + 12, str(entering), ha="center", va="bottom", size=6.5)
            written = entering
        if layer in groups:
            light = groups[layer]
            width = 1.4 if layer == data.stage.layer else 0.7
            axes.axvline(layer + 0.5, color=TEXT, lw=width, ls=(0, (4, 2)))
    wide = axes.get_position().width * axes.figure.get_figwidth() > 4
    ticks = range(0, len(sample.tokens_in), 1 if few else 4)
    axes.set_xticks(ticks, [f"layer {i}" if wide else str(i) for i in ticks])
    axes.tick_params(axis="x", length=0, labelsize=6.5)
    axes.set(ylim=(0, 1.2 * sample.num_visual), yticks=[0, sample.num_visual])
    mean = sum(sample.tokens_out) / len(sample.tokens_out)
    answer = shortened(data.run.answer.text)
    axes.text(1, 0.98, f"mean left by a layer: {mean:.0f}\nanswer: {answer}",
              transform=axes.transAxes, ha="right", va="top", size=6.5, color=TEXT)  # fmt: skip
