"""Training losses of the miniature Qwen2-VL; see `training.losses`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.qwen2_vl.images import make_image
from sparsevlm.miniature.qwen2_vl.questions import FAMILIES
from sparsevlm.miniature.scenes import Scene
from training.drafts import training_drafts
from training.losses import alignment_accuracy, alignment_loss, scenes_loss
from training.qwen2_vl.model import AROUND, BEFORE_IDS
from training.qwen2_vl.vision import depicted_words, merge, tower_features
from training.statements import STATEMENTS
from training.turns import Measures, Turn, list_and_question_turns

KINDS = ("shape", "color", "letter")
LISTS = ("choose", "color", "shape", "letter", "there", "corners")
# Multiple choice needs two steps and is trained on as often as the two others together.
_SHARES = ("mmbench", "mmbench", "pope", "textvqa")
# What is learned last.
_HARD = ("mmbench/text", "pope/random", "pope/popular", "pope/adversarial")


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
    first = len(BEFORE_IDS)
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
    names = rng.permutation(LISTS).tolist()[: int(options["lists"])]
    lists = [(name, STATEMENTS[name](facts, rng)) for name in names]
    count, hard = int(options["questions"]), int(options.get("hard", 0))
    drafts = training_drafts(facts, rng, count, hard, FAMILIES, _SHARES, _HARD)
    return list_and_question_turns(lists, drafts)


def language_loss(model, seeds, grid: int, options: dict) -> tuple[torch.Tensor, Measures]:
    """Look-up lists and questions about images (`losses.scenes_loss`).

    Options: those; if wanted ``hard`` (see `drafts.training_drafts`).
    """
    images = [make_image(seed, grid) for seed in seeds]
    rng = np.random.default_rng((seeds[0], 2))
    with torch.no_grad():
        features = tower_features(model, images)
    offsets = np.cumsum([0, *(image.patch_objects.size for image in images[:-1])])

    def look(kept):
        chosen = kept + torch.from_numpy(offsets)[:, None].to(kept.device)
        target = depicted_words(images).to(kept.device)
        return merge(model, features[chosen]), target[chosen]

    return scenes_loss(
        model, images, rng, options, visual_positions, look,
        lambda scene, facts: image_turns(facts, rng, options), **AROUND,
    )  # fmt: skip


LOSSES = {"vision": vision_loss, "language": language_loss}
