"""Figure 6: which visual tokens survive each cut, for one scene under different questions.

Compute, then draw: `examples` runs the miniature and keeps what it learned in the results folder,
`draw` needs no model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.analysis import ask
from sparsevlm.evaluation.backends import MiniatureBackend
from sparsevlm.evaluation.paths import RESULTS
from sparsevlm.evaluation.profiles import Profile, get_profile
from sparsevlm.evaluation.results import provenance
from sparsevlm.evaluation.results.atomic import write_text
from sparsevlm.evaluation.results.run import digest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Scenes with small seeds: training and benchmarks never draw them. Two questions each.
ASKED: tuple[tuple[int, str, str], ...] = (
    (6, "what shape is the pink thing ?", "square"),
    (6, "what letter is on the brown card ?", "Z"),
    (5, "which side is the purple circle on ?", "right"),
    (5, "is there a cyan ring in the image ?", "yes"),
    (3, "what color is the circle ?", "blue"),
    (3, "describe the white card .", "K middle center"),
)


@dataclass(frozen=True)
class Example:
    """One question, both answers, and the fate of every visual token.

    Attributes
    ----------
    scene_seed : int
    words : list of str
        The text after the image, as the raters index it.
    raters : list of int
        Which of the words rated.
    reference, dense, pruned : str
        The true answer and the two that were given.
    grid : (int, int)
    stages : list of dict
        For each cut: layer, kept, groups (original raster indices), num_left.
    mean_tokens_in, mean_tokens_out : float
    """

    scene_seed: int
    words: list[str]
    raters: list[int]
    reference: str
    dense: str
    pruned: str
    grid: tuple[int, int]
    stages: list[dict]
    mean_tokens_in: float
    mean_tokens_out: float

    @property
    def image(self):
        from sparsevlm.miniature.scenes import make_scene

        return make_scene(self.scene_seed).image


def examples(
    profile: Profile | str = "mini",
    tokens: int = 64,
    asked: Sequence[tuple[int, str, str]] = ASKED,
    folder: Path = RESULTS / "figure_6",
) -> list[Example]:
    """Answer the questions dense and pruned, or read what an earlier run kept.

    Parameters
    ----------
    profile : Profile or str
    tokens : int
        The budget.
    asked : sequence of (scene seed, question, true answer)
    folder : Path
        Results are kept here under a name made of model, pruner and questions.

    Raises
    ------
    ValueError
        Unknown profile, impossible budget.
    """
    profile = get_profile(profile) if isinstance(profile, str) else profile
    profile.require_runnable()
    source = MiniatureBackend()
    pruner = source.sizes(profile.model).pruner("sparsevlm", tokens)
    key = digest(
        source.revision(profile.model), json.dumps(pruner.to_json(), sort_keys=True),
        json.dumps(asked),
    )  # fmt: skip
    path = folder / f"{key}.json"
    if not path.exists():
        found = [_example(profile, pruner, *question) for question in asked]
        record = {"provenance": provenance.collect(), "examples": [asdict(e) for e in found]}
        write_text(path, json.dumps(record))
    kept = json.loads(path.read_text(encoding="utf-8"))["examples"]
    return [Example(**{**e, "grid": tuple(e["grid"])}) for e in kept]


def _example(profile: Profile, pruner, scene_seed: int, question: str, reference: str) -> Example:
    from sparsevlm.core.sparsevlm import Dense

    _, _, dense_answer, _ = ask.answered(profile.name, scene_seed, question, Dense())
    words, _, pruned_answer, trace = ask.answered(profile.name, scene_seed, question, pruner)
    sample = trace.samples[0]
    stages = [
        {
            "layer": stage.layer,
            "kept": list(stage.kept),
            "groups": [list(group) for group in stage.groups],
            "num_left": stage.num_left,
        }
        for stage in sample.stages
    ]
    return Example(
        scene_seed,
        list(words),
        list(sample.stages[0].raters),
        reference,
        dense_answer,
        pruned_answer,
        sample.grid,
        stages,
        trace.mean_tokens_in,
        trace.mean_tokens_out,
    )


def draw(found: Sequence[Example], tokens: int = 64) -> Figure:
    """One row per question: the input, the survivors of every cut, the answers."""
    import matplotlib.pyplot as plt
    from matplotlib.layout_engine import PlaceHolderLayoutEngine

    from sparsevlm.analysis.style import figure_size, use_style
    from sparsevlm.analysis.survivors import draw_survivors, draw_words

    use_style()
    stages = len(found[0].stages)
    width, height = figure_size(2, 1.36 * len(found) + 0.45)
    fig = plt.figure(figsize=(width, height), layout="none")
    # The panels are placed by hand, and a figure without an engine gets the default one when saved.
    fig.set_layout_engine(PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True))
    side, gap, left = 1.16, 0.09, 0.05
    for row, example in enumerate(found):
        top = height - 0.42 - row * 1.36
        for column in range(stages + 1):
            x = left + column * (side + gap)
            box = (x / width, (top - side) / height, side / width, side / height)
            axes = fig.add_axes(box)
            cut = example.stages[column - 1] if column else None
            kept, groups = (cut["kept"], cut["groups"]) if cut else (None, ())
            draw_survivors(axes, example.image, example.grid, kept, groups)
            if cut:
                label = f"{len(cut['kept'])} kept + {len(groups)} recycled"
                axes.set_xlabel(label, size=5.5, labelpad=1.5, color="#555555")
            if row == 0:
                title = "input" if cut is None else f"after layer {cut['layer']}"
                axes.set_title(title, size=7.5, pad=4)
        x = left + (stages + 1) * (side + gap) + 0.04
        box = (x / width, (top - side) / height, (width - x - 0.02) / width, side / height)
        _draw_answers(fig.add_axes(box), example, draw_words)
    _draw_key(fig, height, tokens, found)
    return fig


def _draw_answers(axes, example: Example, draw_words) -> None:
    axes.axis("off")
    words = example.words[: _end_of_question(example.words)]
    lines, rows = [[]], []
    for index, word in enumerate(words):
        if sum(len(words[i]) + 1 for i in lines[-1]) + len(word) > 20:
            lines.append([])
        lines[-1].append(index)
    for number, line in enumerate(lines):
        rated = [line.index(i) for i in line if i in example.raters]
        draw_words(axes, [words[i] for i in line], rated, 0.0, 0.86 - 0.13 * number)
    at = 0.86 - 0.13 * len(lines) - 0.06
    for name, answer in (("dense", example.dense), ("pruned", example.pruned)):
        right = answer == example.reference
        rows.append((name, answer, "#009E73" if right else "#B00020", "✓" if right else "✗"))
    for name, answer, colour, mark in rows:
        axes.text(0.0, at, name, size=6.5, color="#777777", va="bottom")
        axes.text(0.27, at, f"{answer} {mark}", size=6.5, color=colour, va="bottom")
        at -= 0.12
    if example.dense != example.reference or example.pruned != example.reference:
        axes.text(0.0, at, "truth", size=6.5, color="#777777", va="bottom")
        axes.text(0.27, at, example.reference, size=6.5, color="#333333", va="bottom")


def _end_of_question(words: Sequence[str]) -> int:
    return words.index("ASSISTANT") if "ASSISTANT" in words else len(words)


def _draw_key(fig, height: float, tokens: int, found: Sequence[Example]) -> None:
    """The line above the panels that says how to read them."""
    from matplotlib.patches import Patch

    from sparsevlm.analysis.survivors import GROUP_COLORS, RATER_COLOR

    entries = [
        Patch(facecolor="#888888", edgecolor="#222222", lw=0.6, label="kept"),
        Patch(facecolor=GROUP_COLORS[0], alpha=0.45, label="recycled (a colour per group)"),
        Patch(facecolor="#f4f4f4", edgecolor="#dddddd", lw=0.4, label="dropped"),
        Patch(facecolor=RATER_COLOR, label="word that rates"),
    ]
    fig.legend(
        handles=entries, loc="upper left", ncols=4, bbox_to_anchor=(0.0, 1.0 - 0.02 / height),
        fontsize=6, handlelength=1.0, handleheight=0.8, columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip
    mean_out = sum(e.mean_tokens_out for e in found) / len(found)
    mean_in = sum(e.mean_tokens_in for e in found) / len(found)
    note = f"budget {tokens}: tokens out {mean_out:.1f}, tokens in {mean_in:.1f}"
    fig.text(0.995, 1 - 0.07 / height, note, ha="right", va="top", size=6, color="#555555")


def overlap_table(found: Sequence[Example]):
    """Overlap of the survivors of two questions about one scene, cut by cut.

    Returns
    -------
    pandas.DataFrame
        One row per scene and cut: survivors of either question, the share of the first one's
        survivors that the second keeps too, and what chance would give.
    """
    import pandas as pd

    rows = []
    for number, first in enumerate(found):
        for second in found[number + 1 :]:
            if second.scene_seed != first.scene_seed:
                continue
            for a, b in zip(first.stages, second.stages, strict=True):
                both = len(set(a["kept"]) & set(b["kept"]))
                rows.append(
                    {
                        "scene": first.scene_seed,
                        "after layer": a["layer"],
                        "kept, question 1": len(a["kept"]),
                        "kept, question 2": len(b["kept"]),
                        "shared": both / max(1, len(a["kept"])),
                        "shared by chance": len(b["kept"]) / (first.grid[0] * first.grid[1]),
                    }
                )
    return pd.DataFrame(rows).round(2)
