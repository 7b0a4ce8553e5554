"""Training losses of the miniature Qwen2-VL; what they return is said in `llava.losses`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.qwen2_vl.images import make_image
from sparsevlm.miniature.qwen2_vl.prompts import BEFORE
from sparsevlm.miniature.qwen2_vl.questions import training_drafts
from sparsevlm.miniature.scenes import Scene
from sparsevlm.miniature.statements import STATEMENTS
from training.llava.losses import alignment_accuracy, kept_patches
from training.llava.vision import alignment_loss
from training.qwen2_vl.packed import turn_hidden
from training.qwen2_vl.vision import depicted_words, merge, tower_features
from training.turns import Measures, Turn, answer_loss, list_turn, pack_turns, question_turn

KINDS = ("shape", "color", "letter")
LISTS = ("choose", "color", "shape", "letter", "there", "corners")


def vision_loss(model, seeds, grid: int, options: dict) -> tuple[torch.Tensor, Measures]:
    """Alignment of every patch of the images with the words it depicts."""
    images = [make_image(seed, grid) for seed in seeds]
    target = depicted_words(images).to(model.lm_head.weight.device)
    visual = merge(model, tower_features(model, images))
    return alignment_loss(model, visual, target), alignment_accuracy(model, visual, target, KINDS)


def visual_positions(images: Sequence[Scene], kept: np.ndarray, rng):
    """Positions of kept tokens and of the mark behind them, ([3, images, kept], [images]).

    Half of the images keep their rows and columns, half are renumbered like text without gaps:
    pruners do either, and the decoder should have met both.
    """
    first = len(BEFORE)
    positions = np.full((3, *kept.shape), first)
    starts = np.empty(len(images), int)
    for number, image in enumerate(images):
        rows, columns = image.patch_objects.shape
        if rng.random() < 0.5:
            positions[:, number] += np.arange(kept.shape[1])
            starts[number] = first + kept.shape[1]
        else:
            positions[1, number] += kept[number] // columns
            positions[2, number] += kept[number] % columns
            starts[number] = first + max(rows, columns)
    return positions, starts


def image_turns(facts: Facts, rng, options: dict) -> list[Turn]:
    """Turns of one image: lists, then questions."""
    turns = []
    for name in rng.permutation(LISTS).tolist()[: int(options["lists"])]:
        words, wanted = STATEMENTS[name](facts, rng)
        turns.append(list_turn(name, words, wanted))
    hard = int(options.get("hard", 0))
    for name, draft in training_drafts(facts, rng, int(options["questions"]), hard):
        turns.append(question_turn(name, draft.question, draft.answer))
    return turns


def language_loss(model, seeds, grid: int, options: dict) -> tuple[torch.Tensor, Measures]:
    """Look-up lists and questions about images, with a little of the alignment kept up.

    Options: ``lists`` and ``questions`` per image, ``background`` (see `kept_patches`) and
    ``alignment`` (weight of the alignment loss); if wanted ``hard`` (see
    `questions.training_drafts`).
    """
    images = [make_image(seed, grid) for seed in seeds]
    rng = np.random.default_rng((seeds[0], 2))
    device = model.lm_head.weight.device
    with torch.no_grad():
        features = tower_features(model, images)
    kept = kept_patches(images, rng, int(options["background"]))
    positions, starts = visual_positions(images, kept, rng)
    sizes = [p.patch_objects.size for p in images]
    offsets = np.cumsum([0, *sizes[:-1]])[:, None]
    chosen = torch.from_numpy(kept + offsets).to(device)
    visual = merge(model, features[chosen])
    turns = [image_turns(Facts(p), rng, options) for p in images]
    ids, weights = pack_turns(turns, device)
    hidden = turn_hidden(
        model,
        visual,
        torch.from_numpy(positions).to(device),
        ids,
        torch.from_numpy(starts).to(device),
    )
    loss, measures = answer_loss(model, hidden, ids, weights, turns, options["lists"])
    if options["alignment"]:
        target = depicted_words(images).to(device)[chosen]
        loss = loss + options["alignment"] * alignment_loss(model, visual, target)
    return loss, measures


LOSSES = {"vision": vision_loss, "language": language_loss}
