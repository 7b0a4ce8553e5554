"""Training losses of the miniature: captioning alignment, then look-ups and questions.

What a loss takes and returns is said in `training.losses`.
"""

from __future__ import annotations

import numpy as np
import torch

from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.scenes import GRID, Scene, make_scene
from sparsevlm.miniature.vocabulary import BEFORE_IMAGE
from training.drafts import training_drafts
from training.llava.vision import depicted_words, encode_images, project
from training.losses import alignment_accuracy, alignment_loss, rows_of, scenes_loss
from training.statements import STATEMENTS, confirm
from training.turns import Measures, Turn, list_and_question_turns

# Lists that need more than one look-up; they are learned last, so every scene carries them.
HARD = ("choose", "match", "verify")


def vision_loss(model, seeds, grid: int, options: dict) -> tuple[torch.Tensor, Measures]:
    """Alignment of every patch of the scenes with the words it depicts."""
    scenes = [make_scene(seed, grid) for seed in seeds]
    device = model.lm_head.weight.device
    target = depicted_words(scenes).to(device)
    visual = project(model, encode_images(model, scenes))
    return alignment_loss(model, visual, target), alignment_accuracy(model, visual, target)


def visual_positions(scenes: list[Scene], kept: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray]:
    """Rotary positions of kept tokens and where the text starts, ([scenes, kept], [scenes]).

    Half of the scenes keep the positions of the full image, half are renumbered without gaps:
    pruners do either, and the decoder should have met both, as a large model has met every length.
    """
    first = len(BEFORE_IMAGE)
    positions = np.empty_like(kept)
    starts = np.empty(len(scenes), int)
    for number, scene in enumerate(scenes):
        grid = scene.patch_objects.shape[0]
        rows, columns = kept[number] // grid, kept[number] % grid
        original = (rows + scene.origin[0]) * GRID + columns + scene.origin[1]
        renumber = rng.random() < 0.5
        positions[number] = first + (np.arange(kept.shape[1]) if renumber else original)
        starts[number] = first + (kept.shape[1] if renumber else GRID * GRID)
    return positions, starts


def statement_names(rng, lists: int, confirm: bool = False) -> list[str]:
    """Kinds of look-up lists for one scene: the hard ones first (if there is room), then others.

    With ``confirm``, that list takes the place of ``match`` among the hard ones.
    """
    always = tuple("confirm" if n == "match" and confirm else n for n in HARD)
    others = [n for n in rng.permutation(list(STATEMENTS)).tolist() if n not in always]
    hard = list(always) if lists > len(always) else []
    return (hard + others)[:lists]


def scene_turns(facts: Facts, rng, options: dict) -> list[Turn]:
    """Turns of one scene: lists, then questions."""
    made = {**STATEMENTS, "confirm": confirm}
    names = statement_names(rng, int(options["lists"]), bool(options.get("confirm", 0)))
    lists = [(name, made[name](facts, rng)) for name in names]
    count, hard = int(options["questions"]), int(options.get("hard", 0))
    return list_and_question_turns(lists, training_drafts(facts, rng, count, hard))


def language_loss(model, seeds, grid: int, options: dict) -> tuple[torch.Tensor, Measures]:
    """Look-up lists and questions about scenes (`training.losses.scenes_loss`).

    Options: those; if wanted, ``confirm`` (see `statement_names`) and ``hard`` (see
    `drafts.training_drafts`).
    """
    scenes = [make_scene(seed, grid) for seed in seeds]
    rng = np.random.default_rng((seeds[0], 2))
    with torch.no_grad():
        features = encode_images(model, scenes)

    def look(kept):
        target = depicted_words(scenes).to(features.device)
        return project(model, rows_of(features, kept)), rows_of(target, kept)

    return scenes_loss(
        model, scenes, rng, options, visual_positions, look,
        lambda scene, facts: scene_turns(facts, rng, options),
    )  # fmt: skip


LOSSES = {"vision": vision_loss, "language": language_loss}
