"""Figure 11: more pictures and questions, survivors cut by cut; the examples of Figure 6 go on.

The computing is that of `figure_6` (`examples`, kept in the results folder); here are other
questions, one or two for each of the eight benchmarks, and a layout for many of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparsevlm.evaluation.paths import RESULTS
from sparsevlm.paper.figures import figure_6
from sparsevlm.paper.figures.figure_6 import Example

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure

    from sparsevlm.evaluation.profiles import Profile

# (benchmark, scene seed, question, true answer); two of them go wrong when pruned.
ASKED: tuple[tuple[str, int, str, str], ...] = (
    ("GQA", 0, "what color is the ring ?", "blue"),
    ("GQA", 4, "what shape is the purple thing ?", "square"),
    ("GQA", 7, "which side is the purple ring on ?", "middle"),
    ("POPE", 7, "is there a orange frame in the image ?", "yes"),
    ("POPE", 8, "is there a yellow ring in the image ?", "no"),
    ("MME", 1, "is the letter on the white card L ?", "yes"),
    ("MM-Vet", 2, "describe the frame .", "orange right top"),
    ("TextVQA", 7, "what letter is on the white card ?", "S"),
    ("TextVQA", 4, "what letter is on the olive card ?", "X"),
    ("SEED", 2, "what shape is the blue thing ? A ring B circle C cross D hourglass", "C"),
    ("ScienceQA", 1, "how many corners has the green thing ? A four B zero C many D three", "D"),
    ("MMBench", 8, "which side is the black card on ? A left B middle C right", "C"),
)

_SIDE, _GAP, _HEADER, _STEP = 0.76, 0.04, 0.27, 1.31
_LEFT = (0.03, 3.56)  # of the two columns, in inches


def measure(
    profile: Profile | str = "mini",
    tokens: int = 64,
    asked: Sequence[tuple[str, int, str, str]] = ASKED,
    folder: Path = RESULTS / "figure_11",
) -> list[Example]:
    """Answer the questions dense and pruned; parameters and errors of `figure_6.examples`."""
    return figure_6.examples(profile, tokens, tuple(one[1:] for one in asked), folder)


def draw(found: Sequence[Example], kinds: Sequence[str] = tuple(one[0] for one in ASKED)) -> Figure:
    """Two columns of examples: question, input, and what is left after every cut.

    Parameters
    ----------
    found : sequence of Example
    kinds : sequence of str
        The benchmark of each.
    """
    from sparsevlm.analysis.panels import Canvas

    rows = -(-len(found) // 2)
    top = 0.42
    canvas = Canvas(6.75, top + rows * _STEP + 0.04)
    _draw_key(canvas, found[0])
    for number, (example, kind) in enumerate(zip(found, kinds, strict=True)):
        column, row = divmod(number, rows)
        _draw_example(canvas, example, kind, _LEFT[column], top + row * _STEP)
    return canvas.figure


def _draw_example(canvas, example: Example, kind: str, left: float, top: float) -> None:
    from sparsevlm.analysis.panels import draw_answer, draw_fates, outline

    width = 4 * _SIDE + 3 * _GAP
    _draw_question(canvas.panel(left, top, width, _HEADER - 0.03), example)
    canvas.text(left + width, top + 0.14, kind, size=6, ha="right", color="#777777")
    for number, stage in enumerate((None, *example.stages)):
        x = left + number * (_SIDE + _GAP)
        axes = canvas.panel(x, top + _HEADER, _SIDE, _SIDE)
        kept, groups = (stage["kept"], stage["groups"]) if stage else (None, ())
        draw_fates(axes, example.image, example.grid, kept, groups, pixels=190)
        target = _target(example)
        outline(axes, example.grid, target, "white" if stage is None else "#111111", 0.9)
        if stage is None:
            draw_answer(axes, example.pruned, example.reference, 0, -0.04,
                        transform=axes.transAxes, size=6)  # fmt: skip
        elif target:
            text = f"{len(set(target) & set(stage['kept']))} of {len(target)}"
            axes.text(1, -0.04, text, size=5.5, ha="right", va="top", transform=axes.transAxes,
                      color="#777777")  # fmt: skip


def _target(example: Example) -> list[int]:
    from sparsevlm.analysis.ask import target_of

    question = " ".join(example.words[: example.words.index("ASSISTANT")])
    return target_of(example.scene_seed, question)


def _draw_question(axes, example: Example) -> None:
    from sparsevlm.analysis.survivors import draw_words

    axes.axis("off")
    words = example.words[: example.words.index("ASSISTANT")]
    end = words.index("?") + 1 if "?" in words else len(words)
    for start, stop, y in ((0, end, 0.5), (end, len(words), 0.0)):
        rated = [i - start for i in example.raters if start <= i < stop]
        # A question without options stands directly over its panels.
        draw_words(axes, words[start:stop], rated, 0.0, y if end < len(words) else 0.0, 6.5)


def _draw_key(canvas, example: Example) -> None:
    from matplotlib.patches import Patch

    from sparsevlm.analysis.survivors import GROUP_COLORS, RATER_COLOR

    asked = "asked for (count: its patches kept)"
    entries = [
        Patch(facecolor="#888888", edgecolor="#222222", lw=0.6, label="kept"),
        Patch(facecolor=GROUP_COLORS[0], alpha=0.45, label="recycled (a colour per group)"),
        Patch(facecolor="#f4f4f4", edgecolor="#dddddd", lw=0.4, label="dropped"),
        Patch(facecolor="none", edgecolor="#111111", lw=1.1, label=asked),
        Patch(facecolor=RATER_COLOR, label="word that rates"),
    ]
    canvas.figure.legend(
        handles=entries, loc="upper left", ncols=5, bbox_to_anchor=(0.0, 1.0), fontsize=6,
        handlelength=1.0, handleheight=0.8, columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip
    for left in _LEFT:
        for number, stage in enumerate((None, *example.stages)):
            title = "input" if stage is None else f"after layer {stage['layer']}"
            x = left + number * (_SIDE + _GAP) + _SIDE / 2
            canvas.text(x, 0.24, title, size=6.5, ha="center", color="#555555")


def table(found: Sequence[Example], kinds: Sequence[str] = tuple(one[0] for one in ASKED)
          ) -> pd.DataFrame:  # fmt: skip
    """One row per question: answers, and the target's patches that are left at every cut."""
    import pandas as pd

    rows = []
    for example, kind in zip(found, kinds, strict=True):
        target = set(_target(example))
        row = {
            "kind": kind, "scene": example.scene_seed,
            "question": " ".join(example.words[: example.words.index("ASSISTANT")]),
            "truth": example.reference, "dense": example.dense, "pruned": example.pruned,
            "target": len(target),
        }  # fmt: skip
        for stage in example.stages:
            row[f"left after layer {stage['layer']}"] = len(target & set(stage["kept"]))
        rows.append(row)
    return pd.DataFrame(rows)
