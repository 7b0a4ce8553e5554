"""Is a miniature a fair stand-in for the full-size model? Where it looks, what pruning costs it.

Two kinds of evidence. The cards (`data/miniature/*.json`) hold what a dense miniature attends to
and from which layer on it needs no image; the records of the tables hold what pruned ones answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsevlm.analysis import drawing, published, study, tables
from sparsevlm.analysis.panels import LAST_TOKEN, QUIET, RATERS
from sparsevlm.analysis.report import Section, comparison
from sparsevlm.analysis.study import DENSE_SETTING, OURS, RANDOM, Results
from sparsevlm.analysis.words import label
from sparsevlm.evaluation.backends import backend_of
from sparsevlm.evaluation.paths import DATA
from sparsevlm.evaluation.profiles import Profile, as_profile
from sparsevlm.paper.extras import methods

# Every miniature with the study that it answers.
STUDY_OF = {
    "mini-llava-32": "table_1",
    "mini-llava": "table_1_shallow",
    "mini-gemini": "figure_4",
    "mini-video-llava": "table_3",
    "mini-qwen2-vl": "table_2",
}
CARDS = DATA / "miniature"
DEPTHS = {"8 layers": "mini-llava", "32 layers": "mini-llava-32"}
NEEDED = 0.99  # share of its accuracy at which a miniature is done with the image
PRICED = (OURS, "fastv", RANDOM)


@dataclass(frozen=True)
class Evidence:
    """One miniature: where it looks without pruning, from its card, and the results of its study.

    Attributes
    ----------
    name : str
        Of the miniature.
    naming, last : tuple of float
        By layer: attention of the word that names an object, and of the last token, on the visual
        tokens of that object, in the best head.
    area : float
        Share of the visual tokens that the object covers: what looking nowhere would give.
    without : tuple of float
        Entry ``l``: questions answered right when no text token sees the image from layer ``l``
        on. The last entry is the untouched model.
    stages : tuple of int
        Layers after which SparseVLM prunes, by the same fractions of depth for every model.
    results : Results
        Of the study that it answers, all methods on the same questions.
    """

    name: str
    naming: tuple[float, ...]
    last: tuple[float, ...]
    area: float
    without: tuple[float, ...]
    stages: tuple[int, ...]
    results: Results

    @classmethod
    def read(cls, name: str, stages: tuple[int, ...], results: Results) -> Evidence:
        """Read the card of a miniature; ValueError if it has no probes."""
        path = CARDS / f"{name}.json"
        probes = json.loads(path.read_text(encoding="utf-8")).get("probes")
        if not probes:
            raise ValueError(
                f"{path} does not say where {name} looks; measure it: "
                f"python -m training.card --name {name} --measure-again"
            )
        attention = probes["attention"]
        return cls(
            name, tuple(attention["naming word"]), tuple(attention["last token"]),
            attention["area"][0], tuple(probes["without_image_from"]), stages, results,
        )  # fmt: skip

    @property
    def done(self) -> int:
        """The first layer from which on the image is not needed any more."""
        enough = NEEDED * self.without[-1]
        return next(layer for layer, right in enumerate(self.without) if right >= enough)

    @property
    def questions(self) -> int:
        """Questions that every method answered."""
        names = self.results.profile.benchmarks
        return sum(self.results.records[(*DENSE_SETTING, n)].run.num_samples for n in names)

    @property
    def sentence(self) -> str:
        """Depth in words: which stages can cost anything."""
        matter = [stage for stage in self.stages if stage + 1 < self.done]
        best = max(range(len(self.naming)), key=self.naming.__getitem__)
        listed = (" and " if len(matter) < 3 else ", ").join(map(str, matter))
        dropped = f"what is dropped after {listed}" if matter else "nothing that it drops"
        return (
            f"{self.name}: the naming word looks at its object most in layer {best} "
            f"({self.naming[best]:.0%} of a head's attention, for {self.area:.1%} of the tokens); "
            f"from layer {self.done} of {len(self.naming)} on no answer needs the picture. "
            f"SparseVLM prunes after {', '.join(map(str, self.stages))}; "
            f"{dropped} can change an answer."
        )


def load(profile: Profile | str) -> list[Evidence]:
    """Return every miniature with its study, from finished records.

    Raises
    ------
    FileNotFoundError
        Some runs are not finished; the message says how to run them.
    """
    profile = as_profile(profile)
    found = []
    for name, study_name in STUDY_OF.items():
        narrowed = profile.for_study(study_name)
        pruner = backend_of(narrowed.model).sizes(name).pruner(OURS, narrowed.budgets[-1])
        stages = tuple(stage.layer for stage in pruner.stages)
        found.append(Evidence.read(name, stages, study.measure(profile, study_name)))
    return found


def price(found: Sequence[Evidence]) -> Section:
    """Return depth, the need for a choice, and the gain of text guidance."""
    apart = {}
    for one in found:
        for b in one.results.profile.budgets:
            for pair in (((RANDOM, b), DENSE_SETTING), ((OURS, b), (RANDOM, b))):
                what = " minus ".join(label(method) for method, _ in pair)
                apart[one.name, what, b] = one.results.difference(*pair)
    section = comparison("What pruning costs", apart, names=("miniature", "difference"))
    return replace(section, sentences=[one.sentence for one in found])


def remains(found: Sequence[Evidence]) -> Section:
    """Return each lead of SparseVLM at either depth, in the paper, and where others ran it all.

    Relative accuracy, SparseVLM minus the other method, in points.
    """
    at = {one.name: one.results for one in found}
    paper, rows = published.by_setting("table1"), {}
    for method in at[DEPTHS["32 layers"]].profile.methods[1:]:
        for tokens in at[DEPTHS["32 layers"]].profile.budgets:
            measured = {
                depth: tables.interval(
                    at[name].difference((OURS, tokens), (method, tokens)), sign="+"
                )
                for depth, name in DEPTHS.items()
            }
            pair = [paper.get((name, tokens)) for name in (OURS, method)]
            lead = tables.NONE
            if all(pair):
                ours, other = (one["relative_accuracy_percent"] for one in pair)
                lead = f"{ours - other:+.1f}"
            others = methods.leads(OURS, method, tokens)
            rows[label(method), str(tokens)] = [*measured.values(), lead, others]
    columns = [*DEPTHS, "paper", f"by others, {methods.ONE_ENVIRONMENT}"]
    return Section(
        "What remains of each difference",
        tables.indexed(rows, ("SparseVLM minus", "tokens"), columns),
    )


def comparisons(found: Sequence[Evidence]) -> pd.DataFrame:
    """Return SparseVLM against every other method: points, interval, whether they separate."""
    rows = []
    for one in found:
        for method, tokens in one.results.settings:
            ahead = one.results.find("ahead", (method, tokens))
            if ahead is not None:
                rows.append({
                    "miniature": one.name, "tokens": tokens, "against": method,
                    "points": ahead.value, "low": ahead.low, "high": ahead.high,
                    "separates": ahead.excludes_zero, "questions": one.questions,
                })  # fmt: skip
    return pd.DataFrame(rows)


def attention_frame(found: Sequence[Evidence]) -> pd.DataFrame:
    """Return what the figure of attention shows: one row per miniature and layer."""
    return pd.DataFrame([
        {
            "miniature": one.name, "layer": layer, "naming_word": naming, "last_token": last,
            "area": one.area, "right_without_picture_from_here": one.without[layer],
            "cut_after": layer in one.stages,
        }
        for one in found
        for layer, (naming, last) in enumerate(zip(one.naming, one.last, strict=True))
    ])  # fmt: skip


def draw_attention(found: Sequence[Evidence]) -> Figure:
    """Return by layer where the model looks, and whether it still needs the picture."""
    fig, (above, below) = drawing.panels(2, len(found), 3.3, sharey=True)
    for upper, lower, one in zip(above, below, found, strict=True):
        layers, right, size = range(len(one.naming)), one.without, {"markersize": 2.5}
        upper.plot(layers, one.naming, "o-", color=RATERS, label="of the word that names it",
                   **size)  # fmt: skip
        upper.plot(layers, one.last, "s-", color=LAST_TOKEN, label="of the last token", **size)
        upper.axhline(one.area, color=QUIET, linestyle=":", linewidth=0.9, label="its area")
        lower.step(range(len(right)), right, where="mid", color="black", linewidth=1)
        for axes in (upper, lower):
            _draw_stages(axes, one)
        upper.set_title(one.name)
        lower.set_xlabel("layer")
    drawing.y_label(above, "attention on\nwhat is asked for")
    drawing.y_label(below, "right if the picture is\nhidden from here on")
    drawing.legend_above(fig, above, 5)
    return fig


def _draw_stages(axes: Axes, one: Evidence) -> None:
    count = len(one.naming)
    for number, stage in enumerate(one.stages):
        axes.axvline(stage + 0.5, color=QUIET, linestyle="--", linewidth=0.6,
                     label="SparseVLM prunes" if number == 0 else None)  # fmt: skip
    axes.set(ylim=(0, 1.03), xlim=(-0.5, count + 0.3), xticks=range(0, count, count // 4))


def draw_price(found: Sequence[Evidence]) -> Figure:
    """Return relative accuracy against budget with paired intervals; a panel per miniature."""
    fig, (row,) = drawing.panels(1, len(found), 2.3, sharey=True)
    for axes, one in zip(row, found, strict=True):
        _draw_price(axes, one.results, PRICED)
        axes.set_title(f"{one.name}\n{one.questions} questions")
    drawing.y_label(row, drawing.RELATIVE)
    drawing.legend_above(fig, row, 5)
    return fig


def _draw_price(axes: Axes, results: Results, methods: Sequence[str]) -> None:
    budgets = sorted(results.profile.budgets)
    # A single budget would otherwise fill the panel with the offsets between the methods.
    apart = 0.03 if len(budgets) > 1 else 0.1
    for method, shift in zip(methods, drawing.spread(len(methods), apart), strict=True):
        estimates = [results.get("relative accuracy", (method, b)) for b in budgets]
        look = {"markersize": 3, "label": label(method)}
        drawing.draw_estimates(axes, [b * (1 + shift) for b in budgets], estimates, method, **look)
    if why := drawing.why_no_percent(results):
        drawing.say_empty(axes, why)
    drawing.level_line(axes, 100)
    drawing.budget_axis(axes, budgets, "visual tokens")
    axes.set_xlim(min(budgets) / (1 + 4 * apart), max(budgets) * (1 + 4 * apart))
