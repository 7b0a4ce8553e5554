"""Is a miniature a fair stand-in for its big sister? Where it looks, and what pruning costs it.

Two kinds of evidence. The cards (`data/miniature/*.json`) hold what a dense miniature attends to
and from which layer on it needs no picture; the records of the tables hold what pruned ones answer.
Read next: stand_in_drawing.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sparsevlm.analysis.statistics import Estimate, estimate
from sparsevlm.analysis.study import Results, measure
from sparsevlm.analysis.study_words import in_words
from sparsevlm.evaluation.attention_aligned import moved_layers, probes_of
from sparsevlm.evaluation.backends import backend_of
from sparsevlm.evaluation.paths import DATA
from sparsevlm.evaluation.profiles import Profile, as_profile

# Every miniature with the study that it answers.
STUDY_OF = {
    "mini-llava": "table_1",
    "mini-llava-16": "table_1_deep",
    "mini-gemini": "figure_4",
    "mini-video-llava": "table_3",
    "mini-qwen2-vl": "table_2",
}
# Those whose cuts the other rule moves, with the study that was cut there.
MOVED_STUDY_OF = {"mini-llava-16": "moved_deep", "mini-gemini": "moved_gemini"}
NEEDED = 0.99  # share of its accuracy at which a miniature is done with the picture


@dataclass(frozen=True)
class Look:
    """Where a dense miniature looks, from its card.

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
        Entry ``l``: questions answered right when no text token sees the picture from layer ``l``
        on. The last entry is the untouched model.
    stages : tuple of int
        Layers after which SparseVLM prunes, by the same fractions of depth for every model.
    moved : tuple of int
        Where `moved_cuts` puts them.
    """

    name: str
    naming: tuple[float, ...]
    last: tuple[float, ...]
    area: float
    without: tuple[float, ...]
    stages: tuple[int, ...]
    moved: tuple[int, ...]

    @property
    def done(self) -> int:
        """The first layer from which on the picture is not needed any more."""
        enough = NEEDED * self.without[-1]
        return next(layer for layer, right in enumerate(self.without) if right >= enough)

    @property
    def sentence(self) -> str:
        """Depth in words: which cuts can cost anything."""
        matter = [stage for stage in self.stages if stage + 1 < self.done]
        named = ", ".join(map(str, self.stages))
        best = max(range(len(self.naming)), key=self.naming.__getitem__)
        return (
            f"{self.name}: the naming word looks at its object most in layer {best} "
            f"({self.naming[best]:.0%} of a head's attention, for {self.area:.1%} of the tokens); "
            f"from layer {self.done} of {len(self.naming)} on no answer needs the picture. "
            f"SparseVLM cuts after {named}; "
            + (f"what is dropped after {_join(matter)} can be missed." if matter
               else "nothing that it drops can be missed.")
        )  # fmt: skip


def _join(layers: list[int]) -> str:
    return " and ".join(map(str, layers)) if len(layers) < 3 else ", ".join(map(str, layers))


def look(name: str, stages: tuple[int, ...], folder: Path = DATA / "miniature") -> Look:
    """Read a card.

    Raises
    ------
    ValueError
        The card has no probes.
    """
    probes = probes_of(name, folder)
    attention = probes["attention"]
    return Look(
        name, tuple(attention["naming word"]), tuple(attention["last token"]),
        attention["area"][0], tuple(probes["without_image_from"]), stages,
        moved_layers(name, folder),
    )  # fmt: skip


@dataclass(frozen=True)
class Stand:
    """One miniature: where it looks, and the results of its study.

    Attributes
    ----------
    look : Look
    results : Results
        Of the study that it answers, all methods on the same questions.
    moved : Results, optional
        On the same questions, cut after `look.moved`; None where that changes nothing.
    """

    look: Look
    results: Results
    moved: Results | None = None

    @property
    def questions(self) -> int:
        """Questions that every method answered."""
        profile = self.results.profile
        return sum(
            self.results.records[("dense", None, name)].run.num_samples
            for name in profile.benchmarks
        )

    def lost_at_random(self, tokens: int) -> Estimate | None:
        """Relative accuracy of random tokens minus 100, in points; None where not measured."""
        if ("random", tokens) not in self.results.relative:
            return None
        return self.results.difference(("random", tokens), ("dense", None))

    def gained(self, tokens: int, over: str) -> Estimate | None:
        """Relative accuracy of SparseVLM minus that of another method, paired."""
        if (over, tokens) not in self.results.relative:
            return None
        return self.results.difference(("sparsevlm", tokens), (over, tokens))

    def gained_by_moving(self, tokens: int) -> Estimate:
        """Relative accuracy of SparseVLM with moved cuts minus that without, paired."""
        setting = ("sparsevlm", tokens)
        return estimate(self.moved.relative[setting] - self.results.relative[setting])


def stands(profile: Profile | str) -> list[Stand]:
    """Every miniature with its study, from finished records.

    Raises
    ------
    FileNotFoundError
        Some runs are not finished; the message says how to run them.
    """
    profile = as_profile(profile)
    found = []
    for name, study in STUDY_OF.items():
        narrowed = profile.for_study(study)
        pruner = backend_of(narrowed.model).sizes(name).pruner("sparsevlm", narrowed.budgets[-1])
        stages = tuple(stage.layer for stage in pruner.stages)
        moved = measure(profile, MOVED_STUDY_OF[name]) if name in MOVED_STUDY_OF else None
        found.append(Stand(look(name, stages), measure(profile, study), moved))
    return found


def sentences(found: list[Stand]) -> list[str]:
    """Depth, the need for a choice, and the gain of text guidance, computed from the results."""
    said = []
    for stand in found:
        said.append(stand.look.sentence)
        for tokens in stand.results.profile.budgets:
            lost, gained = stand.lost_at_random(tokens), stand.gained(tokens, "random")
            if lost is None or gained is None:
                continue
            said.append(
                f"  {tokens} tokens, {stand.questions} questions: random tokens "
                f"{in_words(lost)} against dense; SparseVLM {in_words(gained)} against random."
            )
    return said


def moved_sentences(found: list[Stand]) -> list[str]:
    """What the second rule changes, from the results."""
    said = []
    for stand in found:
        if stand.moved is None:
            continue
        said.append(
            f"{stand.look.name}: cuts after {_join(list(stand.look.moved))} in place of "
            f"{_join(list(stand.look.stages))}."
        )
        for tokens in stand.moved.profile.budgets:
            ahead = stand.moved.difference(("sparsevlm", tokens), ("random", tokens))
            said.append(
                f"  {tokens} tokens: SparseVLM {in_words(stand.gained_by_moving(tokens))} against "
                f"its cuts by depth; {in_words(ahead)} against random tokens with moved cuts."
            )
    return said


def comparisons(found: list[Stand]) -> pd.DataFrame:
    """SparseVLM against every other method: points, interval, and whether they separate."""
    rows = []
    cases = [(stand, "by depth", stand.results) for stand in found]
    cases += [(stand, "moved", stand.moved) for stand in found if stand.moved]
    for stand, stages, results in cases:
        for row in results.rows:
            if row.ahead is None:
                continue
            rows.append({
                "miniature": stand.look.name,
                "cuts": stages,
                "tokens": row.tokens,
                "against": row.method,
                "points": row.ahead.value,
                "low": row.ahead.low,
                "high": row.ahead.high,
                "separates": row.ahead.excludes_zero,
                "questions": stand.questions,
            })  # fmt: skip
    return pd.DataFrame(rows)


def looks_frame(found: list[Stand]) -> pd.DataFrame:
    """What the figure of attention shows: one row per miniature and layer."""
    rows = []
    for one in (stand.look for stand in found):
        for layer, (naming, last) in enumerate(zip(one.naming, one.last, strict=True)):
            rows.append({
                "miniature": one.name, "layer": layer, "naming_word": naming, "last_token": last,
                "area": one.area, "right_without_picture_from_here": one.without[layer],
                "cut_after": layer in one.stages,
                "moved_cut_after": layer in one.moved,
            })  # fmt: skip
    return pd.DataFrame(rows)
