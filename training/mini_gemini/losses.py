"""Training losses of the miniature Mini-Gemini: alignment of mined tokens, then look-ups.

As in `llava.losses`, on images with small cards.
"""

from __future__ import annotations

import numpy as np
import torch

from sparsevlm.miniature.glyphs import GLYPHS
from sparsevlm.miniature.mini_gemini.images import (
    CELL,
    SCALE,
    SMALL_CARD,
    make_image,
    small_cards,
)
from sparsevlm.miniature.mini_gemini.questions import question_about
from sparsevlm.miniature.scenes import Scene
from sparsevlm.miniature.vocabulary import DEPICTED, INDEX
from training.llava.losses import scene_turns, visual_positions
from training.llava.vision import depicted_words
from training.losses import (
    alignment_accuracy,
    alignment_logits,
    alignment_loss,
    rows_of,
    scenes_loss,
)
from training.mini_gemini.vision import fine_pixels, mined_features
from training.turns import Measures, Turn, question_turn


def cells_loss(model, seeds, grid: int, options: dict) -> tuple[torch.Tensor, Measures]:
    """Alignment of every fine cell, as the mining's value sees it, with the words it depicts.

    A cell of a small card depicts "card", its color and its letter, any other "background". The
    big model's ConvNeXt comes from CLIP, so it has met text before it is mined; this stage stands
    for that. It can use the value, because visual features and words have the same size here.

    Options: ``many cards`` (see `make_image`).
    """
    scenes = [make_image(seed, grid, int(options["many cards"])) for seed in seeds]
    device = model.lm_head.weight.device
    cells = model.model.vision_tower_aux.pyramid(fine_pixels(scenes).to(device))
    values = model.model.mining.value(cells.flatten(2).mT)
    target, letters = depicted_in_cells(scenes)
    best = alignment_logits(model, values)[..., [INDEX[w] for w in GLYPHS]].argmax(-1).cpu()
    shown = letters >= 0
    right = (best == letters)[shown].sum().item()
    measures = {"cell letter": (right, int(shown.sum()))}
    return alignment_loss(model, values, target.to(device)), measures


def depicted_in_cells(scenes: list[Scene]) -> tuple[torch.Tensor, torch.Tensor]:
    """Words (bool [scenes, cells, len(DEPICTED)]) and letter (-1: none) of every fine cell."""
    place = {word: index for index, word in enumerate(DEPICTED)}
    side = scenes[0].pixels.shape[0] // CELL
    words = torch.zeros(len(scenes), side, side, len(DEPICTED), dtype=torch.bool)
    letters = torch.full((len(scenes), side, side), -1)
    words[..., place["background"]] = True
    height, width = (-(-length // CELL) for length in SMALL_CARD)
    for number, scene in enumerate(scenes):
        for card in small_cards(scene):
            top, left = (SCALE * v // CELL for v in card.box[:2])
            here = number, slice(top, top + height), slice(left, left + width)
            words[here] = False
            for word in (card.kind, card.color, card.glyph):
                words[(*here, place[word])] = True
            letters[here] = GLYPHS.index(card.glyph)
    return words.flatten(1, 2), letters.flatten(1)


def mining_loss(model, seeds, grid: int, options: dict) -> tuple[torch.Tensor, Measures]:
    """Alignment of every patch with the words it depicts, small cards included.

    Options: ``many cards`` (see `make_image`).
    """
    scenes = [make_image(seed, grid, int(options["many cards"])) for seed in seeds]
    target = depicted_words(scenes).to(model.lm_head.weight.device)
    visual = model.model.projector(mined_features(model, scenes))
    measures = alignment_accuracy(model, visual, target)
    measures["small letter"] = small_letter_accuracy(model, visual, scenes)
    return alignment_loss(model, visual, target), measures


@torch.no_grad()
def small_letter_accuracy(model, visual, scenes: list[Scene]) -> tuple[float, float]:
    """Patches of small cards whose best letter is the right one: (right, all)."""
    letters = alignment_logits(model, visual)[..., [INDEX[w] for w in GLYPHS]].argmax(-1).cpu()
    right = count = 0
    for scene, best in zip(scenes, letters, strict=True):
        for card in small_cards(scene):
            found = best[scene.patches_of(card)]
            right += int((found == GLYPHS.index(card.glyph)).sum())
            count += len(found)
    return right, count


def language_loss(model, seeds, grid: int, options: dict) -> tuple[torch.Tensor, Measures]:
    """Look-up lists and questions about images.

    Options as in `llava.losses.language_loss`; if wanted, ``small``: so many more questions about
    small cards.
    """
    scenes = [make_image(seed, grid) for seed in seeds]
    rng = np.random.default_rng((seeds[0], 2))
    small = int(options.get("small", 0))

    def look(kept):
        target = depicted_words(scenes).to(kept.device)
        visual = model.model.projector(rows_of(mined_features(model, scenes), kept))
        return visual, rows_of(target, kept)

    return scenes_loss(
        model, scenes, rng, options, visual_positions, look,
        lambda scene, facts: scene_turns(facts, rng, options) + small_turns(scene, rng, small),
    )  # fmt: skip


def small_turns(scene: Scene, rng, count: int) -> list[Turn]:
    """``count`` questions about the small cards of a scene, as turns (`llava.losses.scene_turns`).

    Every one is answered by a letter. A scene without room for a small card asks for another one's.
    """
    cards = small_cards(scene) or scene.cards
    turns = []
    for _ in range(count):
        card = cards[int(rng.integers(len(cards)))]
        question = question_about(card, int(rng.integers(2)))
        turns.append(question_turn("small text", question, card.glyph))
    return turns


LOSSES = {"cells": cells_loss, "mining": mining_loss, "language": language_loss}
