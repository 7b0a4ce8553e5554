"""Figure 11: more images and questions, survivors stage by stage; the examples of Figure 6 go on.

The computing is that of `figure_6`; here are other questions, of the miniature one or two for each
of the eight benchmarks, and a layout for many of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsevlm.analysis.examples import SceneQuestion
from sparsevlm.paper.figures import figure_6

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sparsevlm.analysis.observe import AskedExample
    from sparsevlm.analysis.panels import Canvas
    from sparsevlm.evaluation.profiles import Profile
    from sparsevlm.paper.figures.figure_6 import SurvivorData

# Two of them go wrong when mini-llava is pruned.
ASKED = (
    SceneQuestion("GQA", 0, "what color is the ring ?", "blue"),
    SceneQuestion("GQA", 4, "what shape is the purple thing ?", "square"),
    SceneQuestion("GQA", 7, "which side is the purple ring on ?", "middle"),
    SceneQuestion("POPE", 7, "is there a orange frame in the image ?", "yes"),
    SceneQuestion("POPE", 8, "is there a yellow ring in the image ?", "no"),
    SceneQuestion("MME", 1, "is the letter on the white card L ?", "yes"),
    SceneQuestion("MM-Vet", 2, "describe the frame .", "orange right top"),
    SceneQuestion("TextVQA", 7, "what letter is on the white card ?", "S"),
    SceneQuestion("TextVQA", 4, "what letter is on the olive card ?", "X"),
    SceneQuestion("SEED", 2, "what shape is the blue thing ? A ring B circle C cross D hourglass",
                  "C"),
    SceneQuestion("ScienceQA", 1,
                  "how many corners has the green thing ? A four B zero C many D three", "D"),
    SceneQuestion("MMBench", 8, "which side is the black card on ? A left B middle C right", "C"),
)  # fmt: skip

_SIDE, _GAP, _HEADER, _STEP = 0.76, 0.04, 0.27, 1.31
_LEFT = (0.03, 3.56)  # of the two columns, in inches


def measure(
    profile: Profile | str, tokens: int = 64, image: str = "", question: str = ""
) -> SurvivorData:
    """Answer the questions dense and pruned; parameters and errors of `figure_6.measure`."""
    return figure_6.measure(profile, tokens, image, question, ASKED, per_image=3)


def draw(data: SurvivorData) -> Figure:
    """Two columns of examples: question, input, and what is left after every stage."""
    from sparsevlm.analysis.panels import Canvas

    rows, top = -(-len(data.pruned) // 2), 0.42
    canvas = Canvas(6.75, top + rows * _STEP + 0.04)
    _draw_key(canvas, data)
    for number, one in enumerate(data.pruned):
        column, row = divmod(number, rows)
        _draw_example(canvas, one, _LEFT[column], top + row * _STEP)
    return canvas.figure


def _draw_example(canvas: Canvas, one: AskedExample, left: float, top: float) -> None:
    from sparsevlm.analysis.panels import count_of_target, draw_answer, draw_stage, shortened

    width = 4 * _SIDE + 3 * _GAP
    _draw_question(canvas.panel(left, top, width, _HEADER - 0.03), one)
    kind = shortened(one.example.kind)
    canvas.text(left + width, top + 0.14, kind, size=6, ha="right", color="#777777")
    for number in range(1 + len(one.sample.stages)):
        axes = canvas.panel(left + number * (_SIDE + _GAP), top + _HEADER, _SIDE, _SIDE)
        stage = number - 1 if number else None
        draw_stage(axes, one, stage, width=0.9, pixels=190)
        if stage is None:
            draw_answer(axes, one, -0.04, size=6)
        else:
            count_of_target(axes, one, stage, "{left} of {all}", y=-0.04, size=5.5, color="#777777")


def _draw_question(axes: Axes, one: AskedExample) -> None:
    """The question, and over the panels its options where it has any."""
    from sparsevlm.analysis.panels import draw_line

    axes.axis("off")
    asked = list(one.asked)
    marks = [place for place, index in enumerate(asked, start=1) if one.words[index] == "?"]
    end = marks[0] if marks else len(asked)
    if end < len(asked):
        draw_line(axes, one, asked[:end], 0.5, 6.5)
    draw_line(axes, one, asked[end:] or asked, 0.0, 6.5, room=62)


def _draw_key(canvas: Canvas, data: SurvivorData) -> None:
    from matplotlib.patches import Patch

    entries = figure_6.survivor_key()
    if any(one.target for one in data.pruned):
        label = "asked for (count: its patches kept)"
        entries.insert(3, Patch(facecolor="none", edgecolor="#111111", lw=1.1, label=label))
    canvas.figure.legend(
        handles=entries, loc="upper left", ncols=5, bbox_to_anchor=(0.0, 1.0), fontsize=6,
        handlelength=1.0, handleheight=0.8, columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip
    for left in _LEFT[: len(data.pruned)]:
        for number, stage in enumerate((None, *data.pruned[0].sample.stages)):
            x = left + number * (_SIDE + _GAP) + _SIDE / 2
            canvas.text(x, 0.24, figure_6.stage_title(stage), size=6.5, ha="center",
                        color="#555555")  # fmt: skip


def table(data: SurvivorData) -> pd.DataFrame:
    """One row per question: answers, and what is left of the target where it is known."""
    import pandas as pd

    rows = []
    for one, dense in zip(data.pruned, data.dense, strict=True):
        example = one.example
        row = {"kind": example.kind, **example.place, "question": example.question}
        if example.answer:
            row["truth"] = example.answer
        row |= {"dense": dense, "pruned": one.answer.text}
        if example.target is not None:
            row["target"] = len(example.target)
        for number, stage in enumerate(one.sample.stages):
            left = stage.num_left if example.target is None else one.kept_of_target(number)
            row[f"left after layer {stage.layer}"] = left
        rows.append(row)
    return pd.DataFrame(rows)
