"""Figure 1: one image, three questions; what the question changes, and where it changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsevlm.analysis import panels
from sparsevlm.analysis.examples import SceneQuestion, choose_examples, examples_of
from sparsevlm.analysis.observe import AskedExample, ask_example
from sparsevlm.analysis.statistics import mean_and_interval
from sparsevlm.analysis.style import METHOD_STYLE, OUTPUT
from sparsevlm.analysis.survivors import word_lines
from sparsevlm.evaluation.loaded import load_model
from sparsevlm.evaluation.profiles import Profile, as_profile
from sparsevlm.runtime.trace import SampleTrace

ASKED = (
    SceneQuestion("TextVQA", 7, "what letter is on the white card ?", "S"),
    SceneQuestion("GQA", 7, "which side is the purple ring on ?", "middle"),
    SceneQuestion("POPE", 7, "is there a orange frame in the image ?", "yes"),
)
NUM_DRAWN = 32
GUIDED = "sparsevlm"
AGNOSTIC = ("tome", "uniform")
METHODS = (GUIDED, *AGNOSTIC)


@dataclass(frozen=True)
class Figure1Data:
    """What the figure shows.

    Attributes
    ----------
    about : str
        What the reader has to know of the images.
    asked : dict
        Per method, one `AskedExample` per question.
    focus : dict
        Per method, the `focus` of drawn questions, ``[questions]``; empty where no targets are
        known.
    area : ndarray
        Share of the image that the named objects cover in these, ``[questions]``.
    """

    about: str
    tokens: int
    asked: dict[str, list[AskedExample]]
    focus: dict[str, np.ndarray]
    area: np.ndarray


def measure(
    profile: Profile | str, tokens: int = 64, image: str = "", question: str = ""
) -> Figure1Data:
    """Ask the questions under every method, and measure `focus` on drawn questions.

    `image` and `question` are the user's own, see `choose_examples`; there is room for three. The
    limit of the profile is that of the drawn questions.
    """
    profile = as_profile(profile)
    loaded = load_model(profile)
    examples = examples_of(loaded)
    chosen = choose_examples(examples, ASKED, image, question, per_image=3)
    pruners = {name: loaded.sizes.pruner(name, tokens) for name in METHODS}
    asked = {
        name: [ask_example(loaded, example, pruner) for example in chosen]
        for name, pruner in pruners.items()
    }
    drawn = [e for e in examples.drawn(profile.limit or NUM_DRAWN) if e.target]
    focused: dict[str, list[float]] = {name: [] for name in METHODS if drawn}
    for name in focused:
        for example in drawn:
            seen = ask_example(loaded, example, pruners[name], max_new_tokens=1)
            focused[name].append(focus(seen.sample, example.target))
    return Figure1Data(
        examples.about(chosen), tokens, asked,
        {name: np.array(values) for name, values in focused.items()},
        np.array([len(e.target) / e.scene.patch_objects.size for e in drawn]),
    )  # fmt: skip


def focus(sample: SampleTrace, target: Sequence[int]) -> float:
    """Share of the tokens left after the last stage that is about the target.

    A token counts by the share of its patches that show the target: a kept one by 0 or 1, a
    recycled or merged one by the share of its members.
    """
    last, wanted = sample.stages[-1], set(target)
    merged = sum(len(wanted & set(group)) / len(group) for group in last.groups)
    return (len(wanted & set(last.kept)) + merged) / last.num_left


def draw(data: Figure1Data) -> Figure:
    """The image; guided survivors; the measure; text-agnostic survivors."""
    guided, agnostic = data.asked[GUIDED], data.asked[AGNOSTIC[0]]
    big, left = 1.5, 0.04
    if OUTPUT.columns == 2:
        side, step, first, height = big, 1.66, left + 1.76, 4.7
        rows, own = (0.07, 2.62), (left, 2.62)  # tops of (b) and (d), corner of (c)
    else:
        side, step, first, height = 1.02, 1.07, left, 6.1
        rows, own = (2.5, 4.5), (1.72, 0.07)
    canvas = panels.Canvas(OUTPUT.width, height)
    canvas.text(left, 0.07, "(a) the picture", weight="bold")
    panels.draw_survivors(canvas.panel(left, 0.69, big, big), guided[0].image, guided[0].grid)
    key = "bold line: what is asked for (count:\nits patches kept); tinted: recycled"
    if not any(one.target for one in guided):
        key = "lines: kept; tinted: recycled"
    canvas.text(left, 0.73 + big, key, size=6, color="#555555", linespacing=1.3)
    names = {GUIDED: "the question decides", AGNOSTIC[0]: "the question is not looked at"}
    for top, letter, (method, how) in zip(rows, "bd", names.items(), strict=True):
        title = f"({letter}) {METHOD_STYLE[method].label}, {data.tokens} tokens: {how}"
        canvas.text(first, top, title, weight="bold", color=METHOD_STYLE[method].color)
    for column, (one, merged) in enumerate(zip(guided, agnostic, strict=True)):
        x = first + column * step
        _draw_question(canvas.panel(x, rows[0] + 0.19, side, 0.39), one, round(17.5 * side))
        kept = canvas.panel(x, rows[0] + 0.62, side, side)
        panels.draw_stage(kept, one, -1)
        panels.draw_answer(kept, one)
        panels.count_of_target(kept, one, -1, "{left} of {all}")
        _draw_merged(canvas.panel(x, rows[1] + 0.2, side, side), merged)
    if data.focus:
        canvas.text(*own, "(c) tokens left that show\nwhat is asked for", weight="bold")
        _draw_focus(canvas.panel(own[0] + 0.62, own[1] + 0.45, big - 0.7, 1.0), data)
    return canvas.figure


def _draw_question(axes: Axes, one: AskedExample, room: int) -> None:
    """The question in three lines, or in smaller ones where it is long."""
    axes.axis("off")
    lines = word_lines(one.words, min(room, 18), one.asked, most=3)
    for number, line in enumerate(lines):
        panels.draw_line(axes, one, line, (len(lines) - 1 - number) / 3, 7, room=room)


def _draw_merged(axes: Axes, one: AskedExample) -> None:
    """The image as the merged tokens show it: every token one color, borders between them."""
    (rows, columns), last = one.grid, one.sample.stages[-1]
    size = max(1, one.image.height // rows)
    pixels = np.asarray(one.image.resize((columns * size, rows * size)), float)
    patches = pixels.reshape(rows, size, columns, size, 3).mean((1, 3)).reshape(-1, 3)
    for group in last.groups:
        patches[group] = patches[group].mean(0)
    axes.imshow(patches.reshape(rows, columns, 3).round().astype(np.uint8), interpolation="nearest",
                extent=(0, columns, rows, 0))  # fmt: skip
    panels.bare(axes)
    panels.outline(axes, one.grid, one.target, "#111111", 1.1)
    panels.draw_answer(axes, one)
    wide = axes.get_position().width * axes.figure.get_figwidth() > 1.2
    y = -0.03 if one.example.answer and wide else -0.13  # clear of a long answer
    merged = f"{len(last.groups)} merged"
    axes.text(1, y, f"{len(last.kept)} kept, {merged}" if last.kept else merged, va="top",
              ha="right", size=6.5, color="#555555", transform=axes.transAxes)  # fmt: skip


def _draw_focus(axes: Axes, data: Figure1Data) -> None:
    for row, method in enumerate(METHODS):
        mean, low, high = 100 * mean_and_interval(data.focus[method])
        axes.barh(row, mean, 0.62, color=METHOD_STYLE[method].color)
        axes.plot([low, high], [row, row], color="#222222", lw=0.9)
        axes.text(high + 1, row, f"{mean:.0f} %", va="center", size=6.5)
    axes.axvline(100 * data.area.mean(), color="#222222", lw=0.7, ls=(0, (3, 2)))
    axes.set_yticks(range(len(METHODS)), [METHOD_STYLE[m].label for m in METHODS])
    axes.invert_yaxis()
    axes.set_xlim(0, 100 * max(mean_and_interval(data.focus[m])[2] for m in METHODS) * 1.3)
    axes.set_xlabel(f"%, mean of {len(data.area)} drawn\nquestions; dashes:\nchance", size=6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def table(data: Figure1Data) -> pd.DataFrame:
    """Every question of the image under every method; truth and focus where they are known."""
    rows = []
    for method, asked in data.asked.items():
        for one in asked:
            row = {"method": method, "question": one.example.question, "answer": one.answer.text}
            if one.example.answer:
                row["truth"] = one.example.answer
            row["tokens left"] = one.sample.stages[-1].num_left
            pairs = zip(one.sample.stages, asked[0].sample.stages, strict=True)
            same = all((a.kept, a.groups) == (b.kept, b.groups) for a, b in pairs)
            row["same tokens as question 1"] = same
            if one.target:
                row["focus"] = round(focus(one.sample, one.target), 3)
            rows.append(row)
    return pd.DataFrame(rows)


def summary(data: Figure1Data) -> pd.DataFrame:
    """Focus on the drawn questions, in percent: mean and 95 % interval per method, and chance.

    Without rows where no targets are known.
    """
    every = {**data.focus, "chance (area)": data.area} if data.focus else {}
    rows = {name: 100 * mean_and_interval(values) for name, values in every.items()}
    frame = pd.DataFrame(rows, index=["mean", "low", "high"]).T.round(1)
    return frame.rename_axis("method")
