"""Turns of text about an image or clip: how they are made, packed, and what they cost.

A turn is a look-up list (`statements`) or a question with its answer. All miniatures learn from
turns alike; what differs is the vision in front of them (`llava.losses`, `video_llava.losses`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevlm.miniature import vocabulary
from sparsevlm.miniature.question_families import Draft
from sparsevlm.miniature.vocabulary import PAD
from training.statements import MAX_WORDS, LookUps

Turn = tuple[str, list[str], list[float]]  # label, words, weights: 0 where nothing is predicted
Measures = dict[str, tuple[float, float]]  # sum and count


def list_turn(name: str, words: list[str], wanted: Sequence[bool]) -> Turn:
    """A look-up list as a turn; the words that are wanted weigh alike."""
    return f"list/{name}", words, [float(w) for w in wanted]


def question_turn(name: str, question: str, answer: str) -> Turn:
    """A question with its answer: all words of the answer weigh one, its end a tenth."""
    asked, words = asked_words(question), answer.split()
    weights = [0.0] * len(asked) + [1.0 / len(words)] * len(words) + [0.1]
    return f"ask/{name}", [*asked, *words, "</s>"], weights


def list_and_question_turns(
    lists: Iterable[tuple[str, LookUps]], drafts: Iterable[tuple[str, Draft]]
) -> list[Turn]:
    """Lists, then questions, each with the name of its kind."""
    turns = [list_turn(name, words, wanted) for name, (words, wanted) in lists]
    return turns + [question_turn(name, made.question, made.answer) for name, made in drafts]


def answer_turn(name: str, question: str, answer: str) -> Turn:
    """As `question_turn`, without the end, and every word of the answer weighs one."""
    asked, words = asked_words(question), answer.split()
    return name, asked + words, [0.0] * len(asked) + [1.0] * len(words)


def asked_words(question: str) -> list[str]:
    """The words of a turn up to its answer."""
    return [*question.split(), "ASSISTANT", ":"]


def pack_turns(
    turns: Sequence[Sequence[Turn]],
    device: torch.device,
    encode: Callable[[list[str]], list[int]] = vocabulary.encode,
) -> tuple[Tensor, Tensor]:
    """Ids [images, turns, words] and weights of predicting each next word, same shape.

    Parameters
    ----------
    turns : sequence of sequence of Turn
        Equally many for every image.
    device : torch.device
    encode : callable
        Of the miniature's vocabulary.
    """
    shape = (len(turns), len(turns[0]), MAX_WORDS)
    ids, weights = np.full(shape, PAD), np.zeros(shape, np.float32)
    for i, image in enumerate(turns):
        for j, (_, words, wanted) in enumerate(image):
            ids[i, j, : len(words)] = encode(words)
            weights[i, j, : len(words) - 1] = wanted[1:]
    return torch.from_numpy(ids).to(device), torch.from_numpy(weights).to(device)


def answer_loss(
    model, hidden: Tensor, ids: Tensor, weights: Tensor, turns, lists: float
) -> tuple[Tensor, Measures]:
    """Loss and accuracy of the words that the turns ask for.

    Parameters
    ----------
    model : PreTrainedModel
        Its ``lm_head`` turns hidden states into words.
    hidden : Tensor [images, turns, words, hidden]
    ids, weights : Tensor [images, turns, words]
        From `pack_turns`.
    turns : sequence of sequence of Turn
    lists : float
        So many of the turns of every image come first and are lists.

    Returns
    -------
    loss : Tensor
        Mean loss of look-ups plus mean loss of questions (whichever are there), a scalar.
    measures : dict
        Accuracy per kind of turn, the end of an answer not counted.
    """
    where = weights.nonzero(as_tuple=True)
    logits = model.lm_head(hidden[where])
    targets = ids[where[0], where[1], where[2] + 1]
    each, asked = F.cross_entropy(logits, targets, reduction="none"), weights[where]
    parts = [asked * kind for kind in (where[1] < lists, ~(where[1] < lists))]
    loss = sum((each * part).sum() / part.sum() for part in parts if part.sum() > 0)
    return loss, _accuracy(turns, where, logits.argmax(-1) == targets, asked)


def _accuracy(turns, where, right: Tensor, weights: Tensor) -> Measures:
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    places = zip(*(w.tolist() for w in where[:2]), right.tolist(), weights.tolist(), strict=True)
    for image, turn, correct, weight in places:
        if weight > 0.2:
            total = totals[turns[image][turn][0]]
            total[0] += correct
            total[1] += 1
    return {name: (a, b) for name, (a, b) in sorted(totals.items())}
