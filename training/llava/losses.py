"""Training losses of the miniature: captioning alignment, then look-ups and questions.

A loss takes the model, the seeds of its scenes and the stage's options, and returns the scalar to
minimize with a dictionary of measures, each a pair (sum, count) over this step's fresh scenes.
"""

from __future__ import annotations

import numpy as np
import torch

from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.glyphs import GLYPHS
from sparsevlm.miniature.questions import training_drafts
from sparsevlm.miniature.scenes import GRID, SHAPE_COLORS, SHAPES, SIDES, Scene, make_scene
from sparsevlm.miniature.statements import STATEMENTS, confirm
from sparsevlm.miniature.vocabulary import BEFORE_IMAGE, DEPICTED, INDEX
from training.llava.packed import turn_hidden
from training.llava.vision import (
    alignment_logits,
    alignment_loss,
    depicted_words,
    encode_images,
    project,
)
from training.turns import Measures, Turn, answer_loss, list_turn, pack_turns, question_turn

# Lists that need more than one look-up; they are learned last, so every scene carries them.
HARD = ("choose", "match", "verify")
# Words that a patch can depict, by kind.
KINDS = {"shape": SHAPES, "color": SHAPE_COLORS, "letter": GLYPHS, "side": SIDES}


@torch.no_grad()
def alignment_accuracy(model, visual, target, kinds=KINDS) -> Measures:
    """Patches whose best word of a kind is the depicted one, per kind of word (of `KINDS`)."""
    logits = alignment_logits(model, visual)
    result = {}
    for kind in kinds:
        words = KINDS[kind]
        wanted = target[..., [DEPICTED.index(w) for w in words]]
        patches = wanted.any(-1)
        best = logits[..., [INDEX[w] for w in words]].argmax(-1)
        right = wanted.gather(-1, best[..., None])[..., 0][patches]
        result[kind] = (right.float().sum().item(), right.numel())
    return result


def vision_loss(model, seeds, grid: int, options: dict) -> tuple[torch.Tensor, Measures]:
    """Alignment of every patch of the scenes with the words it depicts."""
    scenes = [make_scene(seed, grid) for seed in seeds]
    device = model.lm_head.weight.device
    target = depicted_words(scenes).to(device)
    visual = project(model, encode_images(model, scenes))
    return alignment_loss(model, visual, target), alignment_accuracy(model, visual, target)


def kept_patches(scenes: list[Scene], rng: np.random.Generator, background: int) -> np.ndarray:
    """Patches that a training step shows the decoder, [scenes, kept], ascending.

    All patches of objects and at least ``background`` others at random (the scene with most object
    patches decides the number), because a processor core trains twice as fast without the rest.
    With ``background`` 0 or more than there are, every patch is kept, of images of several sizes
    as many as the smallest has.
    """
    owners = [s.patch_objects.reshape(-1) for s in scenes]
    most = min(o.size for o in owners)
    kept = min(most, max((o >= 0).sum() for o in owners) + background) if background else most
    order = [np.argsort((o < 0) + rng.random(o.size) * 0.5, kind="stable") for o in owners]
    return np.sort(np.stack([o[:kept] for o in order]), axis=1)


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
    turns = []
    confirmed = bool(options.get("confirm", 0))
    for name in statement_names(rng, int(options["lists"]), confirmed):
        make = confirm if name == "confirm" else STATEMENTS[name]
        words, wanted = make(facts, rng)
        turns.append(list_turn(name, words, wanted))
    hard = int(options.get("hard", 0))
    for name, draft in training_drafts(facts, rng, int(options["questions"]), hard):
        turns.append(question_turn(name, draft.question, draft.answer))
    return turns


def language_loss(model, seeds, grid: int, options: dict) -> tuple[torch.Tensor, Measures]:
    """Look-up lists and questions about scenes, with a little of the alignment kept up.

    Options: ``lists`` and ``questions`` per scene, ``background`` (see `kept_patches`),
    ``alignment`` (weight of the alignment loss); if wanted, ``confirm`` (see `statement_names`) and
    ``hard`` (see `questions.training_drafts`).
    """
    scenes = [make_scene(seed, grid) for seed in seeds]
    rng = np.random.default_rng((seeds[0], 2))
    device = model.lm_head.weight.device
    with torch.no_grad():
        features = encode_images(model, scenes)
    kept = kept_patches(scenes, rng, int(options["background"]))
    positions, starts = visual_positions(scenes, kept, rng)
    kept_ids = torch.from_numpy(kept).to(device)
    rows = torch.arange(len(scenes), device=device)[:, None]
    visual = project(model, features[rows, kept_ids])
    turns = [scene_turns(Facts(s), rng, options) for s in scenes]
    ids, weights = pack_turns(turns, device)
    hidden = turn_hidden(
        model,
        visual,
        torch.from_numpy(positions).to(device),
        ids,
        torch.from_numpy(starts).to(device),
    )
    loss, measures = answer_loss(model, hidden, ids, weights, turns, options["lists"])
    target = depicted_words(scenes).to(device)[rows, kept_ids]
    loss = loss + options["alignment"] * alignment_loss(model, visual, target)
    return loss, measures


LOSSES = {"vision": vision_loss, "language": language_loss}
