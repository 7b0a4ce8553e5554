"""A second question about the same picture: on what survived for the first, or asked afresh.

``python tests/second_question.py [pairs]`` measures on mini-llava what docs/algorithm.md says.
The miniature never saw a conversation, so the second question is asked in two ways: alone (in place
of the first one, whose survivors stay: what a cache that is cut back to its picture would give) and
behind the first question and its answer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch

import sparsevlm as sv
from sparsevlm.analysis.statistics import mean_and_interval
from sparsevlm.core.interface import PruningContext, Selection, StagedPruner
from sparsevlm.core.sparsevlm import Dense
from sparsevlm.evaluation.answer import Answer
from sparsevlm.evaluation.backends import backend_of
from sparsevlm.evaluation.shared_prefix import SharedPrefix
from sparsevlm.methods.bases import PrunerWrapper
from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.question_families import FAMILIES, Draft
from sparsevlm.miniature.scenes import make_scene

WAYS, HOW = ("afresh", "survivors"), {"max_new_tokens": 8}
FIRST_SCENE = 3 * 10**9  # behind those of the benchmarks
ARMS = (
    "alone, dense", "alone, afresh", "alone, what survived",
    "behind, dense", "behind, afresh, last question rates", "behind, afresh, all rates",
    "behind, what survived",
)  # fmt: skip


@dataclass
class Remembered(PrunerWrapper):
    """Decides once, and then the same for another question.

    The picture's hidden states do not depend on the text behind them, so its merged tokens are the
    same too.
    """

    inner: StagedPruner
    known: dict[int, Selection] = field(default_factory=dict)

    def select(self, context: PruningContext) -> Selection:
        """The first decision at this layer."""
        if context.layer not in self.known:
            # The words that rated are none of the other question.
            self.known[context.layer] = replace(self.inner.select(context), raters=None)
        return self.known[context.layer]


def pairs(count: int) -> Iterator[tuple[object, Draft, Draft]]:
    """Scenes with two questions of different families each."""
    families = [family for group in FAMILIES.values() for family in group]
    for seed in range(FIRST_SCENE, FIRST_SCENE + count):
        facts, rng = Facts(make_scene(seed)), np.random.default_rng((seed, 7))
        drawn = (families[place](facts, rng) for place in rng.permutation(len(families)))
        first, second, *_ = (drafts[0] for drafts in drawn if drafts and not drafts[0].answers)
        yield facts.scene.image, first, second


class Asked:
    """The miniature, and its answers to pairs of questions under one budget."""

    def __init__(self, tokens: int) -> None:
        backend = backend_of("mini-llava")
        self.model, self.builder = backend.load(
            "mini-llava", dtype="float32", attention="sdpa", device="cpu"
        )
        self.pruner = backend.sizes("mini-llava").pruner("sparsevlm", tokens)

    def generate(self, given: dict, pruner: StagedPruner) -> str:
        """An answer to a prompt, all of whose text after the image rates."""
        with sv.prune(self.model, pruner):
            ids = self.model.generate(**given, **HOW, do_sample=False, pad_token_id=0)
        return self.builder.decode(ids[:, given["input_ids"].shape[1] :])[0]

    def talk(self, image, first: Draft, second: Draft, again: str) -> Answer:
        """The answer to the second question of a conversation."""
        with sv.Conversation(self.model, self.builder, self.pruner, [image], again=again) as chat:
            chat.ask(first.question, **HOW)
            return chat.ask(second.question, **HOW)

    @torch.inference_mode()
    def right(self, image, first: Draft, second: Draft) -> list[bool]:
        """For each of `ARMS`, whether the second question is answered rightly."""
        one, two = (self.builder.inputs([draft.question], [[image]]) for draft in (first, second))
        dense, remembered = Dense(), Remembered(self.pruner)
        self.generate(one, remembered)
        alone = [self.generate(two, pruner) for pruner in (dense, self.pruner, remembered)]
        return [text == second.answer for text in (*alone, *self.behind(image, first, second))]

    def behind(self, image, first: Draft, second: Draft) -> list[str]:
        """The answers to the second question of a conversation, in the order of `ARMS`."""
        afresh, kept = (self.talk(image, first, second, again) for again in WAYS)
        assert (kept.trace.turns, kept.input_ids) == (2, afresh.input_ids)
        whole = self.builder.inputs([first.question], [[image]])
        whole["input_ids"] = torch.tensor([afresh.input_ids])
        whole["attention_mask"] = torch.ones_like(whole["input_ids"])
        dense, every = (self.generate(whole, pruner) for pruner in (Dense(), self.pruner))
        return [dense, afresh.text, every, kept.text]


def measure(tokens: int, count: int) -> np.ndarray:
    """``[pairs, arms]`` of right answers."""
    asked = Asked(tokens)
    with SharedPrefix(0) as shared:  # a picture is encoded once
        shared.install(asked.model)
        return np.array([asked.right(*pair) for pair in pairs(count)], dtype=float)


def report(tokens: int, right: np.ndarray) -> str:
    """A table, differences paired by question."""
    lines = [f"{tokens} tokens, {len(right)} pairs of questions"]

    def line(name: str, values: np.ndarray) -> str:
        mean, low, high = 100 * mean_and_interval(values)
        return f"  {name:60} {mean:6.1f} [{low:.1f}, {high:.1f}]"

    lines += [line(name, right[:, place]) for place, name in enumerate(ARMS)]
    differences = ((1, 2), (1, 0), (4, 6), (5, 6), (4, 5), (4, 3))
    lines += [line(f"{ARMS[a]} - {ARMS[b]}", right[:, a] - right[:, b]) for a, b in differences]
    return "\n".join(lines)


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    for budget in (64, 192, 128):
        print(report(budget, measure(budget, number)), flush=True)
