"""Figure 7: how much of the image, and how much of the text, does an answer need?

Two measures of redundancy on the dense model. *Attention*: which tokens hold most of what the
answer position attends to, in the image and in the question. *Deletion*: how often the answer
stays the same when tokens are really taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from sparsevlm.analysis.attention import AttentionMaps, look
from sparsevlm.analysis.examples import Example, choose_examples, examples_of
from sparsevlm.analysis.observe import AskedExample, ask_example
from sparsevlm.analysis.statistics import mean_and_interval
from sparsevlm.core.interface import PruningContext, Selection, StagedPruner
from sparsevlm.core.schedule import PruningStage
from sparsevlm.core.sparsevlm import Dense
from sparsevlm.evaluation.loaded import LoadedModel, load_model
from sparsevlm.evaluation.profiles import Profile, as_profile

NUM_DRAWN = 16
HELD = 0.9  # share of the attention that the counted tokens hold
# Shares of the tokens that are taken away. Of a question of eight words more than three quarters
# leave nothing to answer.
DELETED = {"image": (0.5, 0.75, 0.875, 0.9375), "question": (0.25, 0.5, 0.75)}
BACKGROUND_FIRST, IMAGE_AT_RANDOM = "image, background first", "image, at random"
QUESTION_AT_RANDOM = "question, at random"
ORDERS = (BACKGROUND_FIRST, IMAGE_AT_RANDOM, QUESTION_AT_RANDOM)


@dataclass(frozen=True)
class Patches(StagedPruner):
    """Keep the named visual tokens (raster indices) at the input of layer 0, at their positions."""

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
        return Selection(torch.tensor(self.patches, device=context.visual.device))


@dataclass(frozen=True)
class QuestionRedundancy:
    """What was measured on one question.

    Attributes
    ----------
    asked : AskedExample
        The question and the first token of the dense model's answer.
    image, words : ndarray
        Attention of the answer position, mean over layers and heads, to the visual tokens and to
        the words of the question; each sums to 1.
    mass : (float, float)
        What the two hold of all attention before that.
    background : ndarray of bool or None
        Visual tokens that show no object; None where the objects are not marked.
    same : dict
        Per order, for every share of `DELETED`: whether the first token of the answer is still
        that of the dense model.
    """

    asked: AskedExample
    image: np.ndarray
    words: np.ndarray
    mass: tuple[float, float]
    background: np.ndarray | None
    same: dict[str, list[bool]]


@dataclass(frozen=True)
class Figure7Data:
    """The measured questions, and what the reader has to know of the images."""

    about: str
    questions: list[QuestionRedundancy]


def measure(
    profile: Profile | str,
    layers: Sequence[int] = (),
    words: str = "",
    image: str = "",
    question: str = "",
) -> Figure7Data:
    """Measure both redundancies on drawn questions, as many as the limit, or on your own.

    `image` and `question` are the user's own, see `choose_examples`.

    Parameters
    ----------
    layers : sequence of int
        Whose attention is looked at; all for none.
    words : str
        Whose attention: words of the text, the mean over them. "" for the last token, from which
        the answer is read.

    Raises
    ------
    ValueError
        A layer or a word that is not there, or see `choose_examples`.
    """
    profile = as_profile(profile)
    loaded = load_model(profile)
    examples = examples_of(loaded)
    drawn = examples.drawn(profile.limit or NUM_DRAWN)
    if image or question:
        drawn = choose_examples(examples, drawn, image, question)
    found = [_measured(loaded, example, layers, words) for example in drawn]
    return Figure7Data(examples.about(drawn), found)


def _measured(
    loaded: LoadedModel, example: Example, layers: Sequence[int], words: str
) -> QuestionRedundancy:
    maps = look(loaded, example)
    rows = maps.positions(words) if words else [-1]
    layers = maps.layers(list(layers))
    image = maps.visual[layers][:, :, rows].mean((0, 1, 2))
    words_after = maps.rows[layers][:, :, rows, -len(maps.words) :]
    text = words_after.mean((0, 1, 2))[list(maps.asked)]
    background = None
    if example.scene is not None:
        background = example.scene.patch_objects.reshape(-1) < 0
    return QuestionRedundancy(
        AskedExample(maps.example, maps.answer, maps.image, maps.asked), image / image.sum(),
        text / text.sum(), (float(image.sum()), float(text.sum())), background,
        after_deletion(loaded, maps, background),
    )  # fmt: skip


def deleted(order: str) -> tuple[float, ...]:
    """The shares that are taken away in one of `ORDERS`."""
    return DELETED[order.split(",")[0]]


def after_deletion(
    loaded: LoadedModel, dense: AttentionMaps, background: np.ndarray | None
) -> dict[str, list[bool]]:
    """Ask again without some of the tokens: is the first token of the answer the same?

    Without a background (see `QuestionRedundancy`) its order of deletion is left out.
    """
    example, num_visual = dense.example, dense.sample.num_visual
    rng = np.random.default_rng((example.seed, 7))
    shuffled = rng.permutation(num_visual)
    orders = {IMAGE_AT_RANDOM: shuffled}
    if background is not None:
        # Background, then other objects, then what the question names; at random within each.
        rank = (~background).astype(int) + np.isin(np.arange(num_visual), example.target)
        by_content = shuffled[np.argsort(rank[shuffled], kind="stable")]
        orders = {BACKGROUND_FIRST: by_content, **orders}
    question = example.question.split()
    words = rng.permutation(len(question))

    def keeps(changed: Example, pruner: StagedPruner) -> bool:
        answer = ask_example(loaded, changed, pruner, max_new_tokens=1).answer
        return answer.token_ids == dense.answer.token_ids

    same = {}
    for name, order in orders.items():
        left = [order[round(share * len(order)) :] for share in deleted(name)]
        same[name] = [keeps(example, Patches.of(patches)) for patches in left]
    left = [sorted(words[round(share * len(words)) :]) for share in deleted(QUESTION_AT_RANDOM)]
    same[QUESTION_AT_RANDOM] = [
        keeps(replace(example, question=" ".join(question[i] for i in some)), Dense())
        for some in left
    ]
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


def table(data: Figure7Data) -> pd.DataFrame:
    """One row per question: shares that hold 90 % of the attention, entropies, answers kept."""
    rows = []
    for one in data.questions:
        example, target = one.asked.example, one.asked.target
        row = {
            **example.place, "question": example.question,
            "holders, image": len(holders(one.image)) / len(one.image),
            "holders, words": len(holders(one.words)) / len(one.words),
            "entropy, image": entropy(one.image), "entropy, words": entropy(one.words),
        }  # fmt: skip
        if one.background is not None:
            row |= {
                "attention on the target": one.image[list(target)].sum(),
                "attention on background": one.image[one.background].sum(),
                "area of the target": len(target) / len(one.image),
                "area of background": one.background.mean(),
            }
        for order, values in one.same.items():
            names = [f"same answer, {order}, {100 * share:g} % gone" for share in deleted(order)]
            row |= dict(zip(names, map(float, values), strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def summary(data: Figure7Data) -> pd.DataFrame:
    """Mean over the questions with its 95 % bootstrap interval, in percent."""
    frame = table(data).select_dtypes("number").drop(columns="scene", errors="ignore")
    rows = {name: 100 * mean_and_interval(values.to_numpy()) for name, values in frame.items()}
    columns = ["mean", "low", "high"]
    return pd.DataFrame(rows, index=columns).T.round(1).rename_axis("quantity")


def findings(data: Figure7Data) -> str:
    """Say what both measures find in these questions; Markdown."""
    means = summary(data)["mean"]
    text = (
        f"To hold {100 * HELD:.0f} % of the attention it takes {means['holders, image']:g} % of "
        f"the patches and {means['holders, words']:g} % of the words of a question."
    )
    if "area of background" in means:
        text += (
            f" {means['attention on background']:g} % of the attention to the image lies on "
            f"background, which is {means['area of background']:g} % of the area. Where that can "
            "be deleted without a change of the answer (c), attention of the answer is no measure "
            "of need."
        )
    return text
