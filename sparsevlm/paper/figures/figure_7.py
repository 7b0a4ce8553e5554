"""Figure 7: how much of the image, and how much of the text, does an answer need?

Two measures of redundancy on the dense model. *Attention*: which tokens hold most of what the
answer position attends to, in the image and in the question. *Deletion*: how often the answer
stays the same when tokens are really taken away.

Compute, then draw: `measure` runs the miniature, `draw` and the tables need what it returned only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from sparsevlm.analysis import ask
from sparsevlm.analysis.observe import Look, look
from sparsevlm.core.interface import PruningContext, Selection, StagedPruner
from sparsevlm.core.schedule import PruningStage

if TYPE_CHECKING:
    import pandas as pd

HELD = 0.9  # share of the attention that the counted tokens hold
# Shares of the tokens that are taken away. Of a question of eight words more than three quarters
# leave nothing to answer.
DELETED = {"image": (0.5, 0.75, 0.875, 0.9375), "question": (0.25, 0.5, 0.75)}
ORDERS = ("image, background first", "image, at random", "question, at random")
_TEMPLATE_WORDS = 2  # "ASSISTANT :" behind the question


@dataclass(frozen=True)
class Patches(StagedPruner):
    """Keep the named visual tokens at the input of layer 0, at their positions.

    Parameters
    ----------
    patches : tuple of int
        Raster indices.
    """

    patches: tuple[int, ...] = ()

    name: ClassVar[str] = "patches"
    needs_attention: ClassVar[bool] = False

    @classmethod
    def of(cls, patches: np.ndarray) -> Patches:
        """Keep these, in any order."""
        kept = tuple(sorted(int(index) for index in patches))
        return cls((PruningStage(-1, len(kept)),), kept)

    def select(self, context: PruningContext) -> Selection:
        """The named tokens."""
        import torch

        return Selection(torch.tensor(self.patches, device=context.visual.device))


@dataclass(frozen=True)
class Question:
    """What was measured on one question.

    Attributes
    ----------
    scene_seed, question
        The question.
    image, words : ndarray
        Attention of the answer position, mean over layers and heads, to the visual tokens and to
        the words of the question; each sums to 1.
    mass : (float, float)
        What the two hold of all attention before that.
    objects : ndarray of bool
        Visual tokens that show any object.
    target : list of int
        Visual tokens of what the question names.
    same : dict
        Per order, for every share of `DELETED`: whether the first word of the answer is still
        that of the dense model.
    """

    scene_seed: int
    question: str
    image: np.ndarray
    words: np.ndarray
    mass: tuple[float, float]
    objects: np.ndarray
    target: list[int]
    same: dict[str, list[bool]]


def measure(profile: str = "mini", num_questions: int = 16) -> list[Question]:
    """Measure both redundancies on questions that nobody chose (`ask.drawn_questions`)."""
    drawn = ask.drawn_questions(num_questions)
    return [_measured(profile, seed, question) for seed, question, _ in drawn]


def _measured(profile: str, seed: int, question: str) -> Question:
    seen = look(profile, seed, question)
    image, words = _answer_rows(seen)
    objects = ask.scene_of(seed).patch_objects.reshape(-1) >= 0
    target = ask.target_of(seed, question)
    same = _after_deletion(profile, seen, objects, target)
    mass = (float(image.sum()), float(words.sum()))
    return Question(
        seed, question, image / image.sum(), words / words.sum(), mass, objects, target, same
    )


def _answer_rows(seen: Look) -> tuple[np.ndarray, np.ndarray]:
    """The row of the last token over the visual tokens and over the words of the question."""
    asked = len(seen.words) - _TEMPLATE_WORDS
    image, text = seen.visual[:, :, -1].mean((0, 1)), seen.text[:, :, -1].mean((0, 1))
    return image, text[:asked]


def deleted(order: str) -> tuple[float, ...]:
    """The shares that are taken away in one of `ORDERS`."""
    return DELETED[order.split(",")[0]]


def _after_deletion(
    profile: str, seen: Look, objects: np.ndarray, target: list[int]
) -> dict[str, list[bool]]:
    from sparsevlm.core.sparsevlm import Dense

    rng = np.random.default_rng((seen.scene_seed, 7))
    shuffled = rng.permutation(len(objects))
    # Background, then other objects, then what the question names; at random within each.
    rank = objects.astype(int) + np.isin(np.arange(len(objects)), target)
    by_content = shuffled[np.argsort(rank[shuffled], kind="stable")]
    asked = seen.question.split()
    words = rng.permutation(len(asked))

    def keeps(question: str, pruner: StagedPruner) -> bool:
        return ask.first_word(profile, seen.scene_seed, question, pruner) == seen.first_word

    same = {}
    for name, order in zip(ORDERS, (by_content, shuffled), strict=False):
        left = [order[round(share * len(order)) :] for share in deleted(name)]
        same[name] = [keeps(seen.question, Patches.of(patches)) for patches in left]
    left = [sorted(words[round(share * len(words)) :]) for share in deleted(ORDERS[2])]
    same[ORDERS[2]] = [keeps(" ".join(asked[i] for i in some), Dense()) for some in left]
    return same


def holders(weights: np.ndarray, held: float = HELD) -> np.ndarray:
    """The fewest tokens that together hold a share of all weight; indices, heaviest first."""
    order = np.argsort(-weights, kind="stable")
    enough = np.searchsorted(np.cumsum(weights[order]), held * weights.sum() - 1e-12) + 1
    return order[:enough]


def entropy(weights: np.ndarray) -> float:
    """Entropy over its largest value, in [0, 1]: 1 where all tokens weigh the same."""
    share = weights[weights > 0] / weights.sum()
    return float(-(share * np.log(share)).sum() / np.log(len(weights)))


def table(found: list[Question]) -> pd.DataFrame:
    """One row per question: shares that hold 90 % of the attention, entropies, answers kept."""
    import pandas as pd

    rows = []
    for one in found:
        background = ~one.objects
        row = {
            "scene": one.scene_seed, "question": one.question,
            "holders, image": len(holders(one.image)) / len(one.image),
            "holders, words": len(holders(one.words)) / len(one.words),
            "entropy, image": entropy(one.image), "entropy, words": entropy(one.words),
            "attention on the target": one.image[one.target].sum(),
            "attention on background": one.image[background].sum(),
            "area of the target": len(one.target) / len(one.image),
            "area of background": background.mean(),
        }  # fmt: skip
        for order, values in one.same.items():
            names = [f"same answer, {order}, {100 * share:g} % gone" for share in deleted(order)]
            row |= dict(zip(names, map(float, values), strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def summary(found: list[Question]) -> pd.DataFrame:
    """Mean over the questions with its 95 % bootstrap interval, in percent."""
    import pandas as pd

    frame = table(found).drop(columns=["scene", "question"])
    rows = {}
    for name, values in frame.items():
        rows[name] = 100 * ask.mean_and_interval(values.to_numpy())
    columns = ["mean", "low", "high"]
    return pd.DataFrame(rows, index=columns).T.round(1).rename_axis("quantity")
