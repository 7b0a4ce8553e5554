"""Figure 6: which visual tokens survive each stage, for one image under different questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sparsevlm.analysis import panels
from sparsevlm.analysis.examples import SceneQuestion, choose_examples, examples_of
from sparsevlm.analysis.observe import AskedExample, ask_example
from sparsevlm.analysis.style import OUTPUT
from sparsevlm.analysis.survivors import GROUP_COLORS, RATER_COLOR
from sparsevlm.core.sparsevlm import Dense
from sparsevlm.evaluation.loaded import load_model
from sparsevlm.evaluation.profiles import Profile, as_profile

# Scenes with small seeds: training and benchmarks never draw them. Two questions each.
ASKED = (
    SceneQuestion("GQA", 6, "what shape is the pink thing ?", "square"),
    SceneQuestion("TextVQA", 6, "what letter is on the brown card ?", "Z"),
    SceneQuestion("GQA", 5, "which side is the purple circle on ?", "right"),
    SceneQuestion("POPE", 5, "is there a cyan ring in the image ?", "yes"),
    SceneQuestion("GQA", 3, "what color is the circle ?", "blue"),
    SceneQuestion("MM-Vet", 3, "describe the white card .", "K middle center"),
)


@dataclass(frozen=True)
class SurvivorData:
    """What Figures 6 and 11 show: every question pruned, and the dense model's answers to them.

    `about` is what the reader has to know of the images.
    """

    about: str
    tokens: int
    pruned: list[AskedExample]
    dense: list[str]


_SIDE, _GAP, _HEADER, _STEP = 0.76, 0.04, 0.27, 1.26  # of an example, in inches


def measure(
    profile: Profile | str,
    tokens: int = 64,
    image: str = "",
    question: str = "",
    asked: Sequence[SceneQuestion] = ASKED,
    per_image: int = 2,
) -> SurvivorData:
    """Answer the questions dense and pruned; for the others of the arguments see `choose_examples`.

    Raises
    ------
    ValueError
        Unknown profile, impossible budget, or see `choose_examples`.
    """
    loaded = load_model(as_profile(profile))
    examples = examples_of(loaded)
    chosen = choose_examples(examples, asked, image, question, per_image)
    pruner = loaded.sizes.pruner("sparsevlm", tokens)
    return SurvivorData(
        examples.about(chosen), tokens,
        pruned=[ask_example(loaded, example, pruner) for example in chosen],
        dense=[ask_example(loaded, example, Dense()).answer.text for example in chosen],
    )  # fmt: skip


def survivor_key() -> list:
    """Return the entries of a key: kept, recycled, dropped, word that rates."""
    return [
        Patch(facecolor="#888888", edgecolor="#222222", lw=0.6, label="kept"),
        Patch(facecolor=GROUP_COLORS[0], alpha=0.45, label="recycled (tinted by group)"),
        Patch(facecolor="#f4f4f4", edgecolor="#dddddd", lw=0.4, label="dropped"),
        Patch(facecolor=RATER_COLOR, label="word that rates"),
    ]


def draw(data: SurvivorData) -> Figure:
    """Two columns of examples: question, input, and what is left after every stage."""
    top = 0.42 if OUTPUT.columns == 2 else 0.66
    count, lefts = len(data.pruned), (0.03, 3.56)[: len(data.pruned)]
    parts = [(0, 0, 3.25, top)]
    parts += [(x - 0.03, top + row * _STEP, x + 3.2, top + (row + 1) * _STEP)
              for row in range(-(-count // 2)) for x in lefts][:count]  # fmt: skip
    canvas = panels.Canvas(6.75, parts[-1][3] + 0.1, parts)
    entries = survivor_key()
    if any(one.target for one in data.pruned):
        label = "asked for (count: its patches kept)"
        entries.insert(3, Patch(facecolor="none", edgecolor="#111111", lw=1.1, label=label))
    canvas.figure.legend(
        handles=entries, loc="upper left", ncols=len(entries) if OUTPUT.columns == 2 else 2,
        bbox_to_anchor=(0.0, 1.0 - 0.02 / canvas.height), fontsize=6, handlelength=1.0,
        handleheight=0.8, columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip
    for left in lefts[: OUTPUT.columns]:
        for number, stage in enumerate((None, *data.pruned[0].sample.stages)):
            x = left + number * (_SIDE + _GAP) + _SIDE / 2
            title = f"after layer {stage.layer}" if stage else "input"
            canvas.text(x, top - 0.18, title, size=6.5, ha="center", color="#555555")
    for one, (left, upper, *_) in zip(data.pruned, parts[1:], strict=True):
        _draw_example(canvas, one, left + 0.03, upper)
    return canvas.figure


def _draw_example(canvas: panels.Canvas, one: AskedExample, left: float, top: float) -> None:
    width = 4 * _SIDE + 3 * _GAP
    _draw_question(canvas.panel(left, top, width, _HEADER - 0.03), one)
    kind = panels.shortened(one.example.kind, 14)
    canvas.text(left + width, top, kind, size=6, ha="right", color="#777777")
    for number in range(1 + len(one.sample.stages)):
        axes = canvas.panel(left + number * (_SIDE + _GAP), top + _HEADER, _SIDE, _SIDE)
        stage = number - 1 if number else None
        panels.draw_stage(axes, one, stage, width=0.9, pixels=190)
        if stage is None:
            panels.draw_answer(axes, one, -0.04, size=6)
        else:
            panels.count_of_target(
                axes, one, stage, "{left} of {all}", y=-0.04, size=6, color="#777777"
            )


def _draw_question(axes: Axes, one: AskedExample) -> None:
    """The question, and over the panels its options where it has any."""
    axes.axis("off")
    asked = list(one.asked)
    marks = [place for place, index in enumerate(asked, start=1) if one.words[index] == "?"]
    end = marks[0] if marks else len(asked)
    if end < len(asked):
        panels.draw_line(axes, one, asked[:end], 0.5, 6.5, room=50)
    panels.draw_line(axes, one, asked[end:] or asked, 0.0, 6.5, room=62)


def overlap_table(data: SurvivorData) -> pd.DataFrame:
    """Overlap of the survivors of two questions about one image, stage by stage.

    Survivors of either question, the share of the first one's survivors that the second keeps too,
    and what chance would give.
    """
    rows = []
    for number, first in enumerate(data.pruned):
        for second in data.pruned[number + 1 :]:
            if second.example.name != first.example.name:
                continue
            for a, b in zip(first.sample.stages, second.sample.stages, strict=True):
                both = len(set(a.kept) & set(b.kept))
                rows.append(
                    {
                        **first.example.place, "after layer": a.layer,
                        "kept, question 1": len(a.kept), "kept, question 2": len(b.kept),
                        "shared": both / max(1, len(a.kept)),
                        "shared by chance": len(b.kept) / first.sample.num_visual,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows).round(2)
