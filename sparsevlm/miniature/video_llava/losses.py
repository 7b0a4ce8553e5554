"""Training losses of the miniature Video-LLaVA: frames first, then look-ups and questions of clips.

A loss takes the model, the seeds of its clips and the stage's options, and returns the scalar to
minimise with a dictionary of measures, each a pair (sum, count) over this step's fresh clips.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..llava.losses import alignment_accuracy
from ..llava.vision import alignment_loss
from ..turns import Measures, Turn, answer_loss, list_turn, pack_turns, question_turn
from ..vocabulary import BEFORE_IMAGE
from .clips import Clip, make_clip
from .facts import Facts
from .model import NUM_VISUAL, TOKENS_PER_FRAME
from .packed import Places, turn_hidden
from .questions import training_drafts
from .shows import SHOW_LISTS
from .statements import STATEMENTS
from .vision import depicted_words, encode_clips, encode_frames, pixel_tensor, project
from .vocabulary import encode

# Lists that need time or more than one look-up; they are learned last, so every clip carries them.
HARD = ("does", "who", "first", "verify")


def vision_loss(model, seeds, grid: int, options: dict) -> tuple[Tensor, Measures]:
    """Alignment of every patch of the frames with the words it depicts.

    Options: ``frames`` of every clip, chosen at random, so that fewer clips need to be drawn.
    """
    clips = [make_clip(seed) for seed in seeds]
    rng = np.random.default_rng((seeds[0], 2))
    count = int(options["frames"])
    chosen = np.stack([rng.permutation(len(c.pixels))[:count] for c in clips])
    rows = np.arange(len(clips))[:, None]
    device = model.lm_head.weight.device
    pixels = np.stack([c.pixels for c in clips])[rows, chosen]
    target = depicted_words(clips)[rows, chosen].flatten(0, 1).to(device)
    features = encode_frames(model, pixel_tensor(pixels).flatten(0, 1).to(device))[:, 1:]
    visual = project(model, features)
    return alignment_loss(model, visual, target), alignment_accuracy(model, visual, target)


def token_owners(clip: Clip) -> np.ndarray:
    """Actor of every visual token, -1 for background and -2 for a frame's class token, [tokens]."""
    owners = clip.owners.reshape(len(clip.owners), -1)
    return np.concatenate([np.full((len(owners), 1), -2), owners], axis=1).reshape(-1)


def kept_tokens(clips: list[Clip], rng: np.random.Generator, background: int) -> np.ndarray:
    """Visual tokens that a training step shows the decoder, [clips, kept], ascending.

    All patches of actors, all class tokens and at least ``background`` others at random (the clip
    with most actor patches decides the number), because a processor core trains several times as
    fast without the rest. With ``background`` 0 every token is kept.
    """
    owners = np.stack([token_owners(clip) for clip in clips])
    total = owners.shape[1]
    must = owners != -1
    kept = min(total, int(must.sum(1).max()) + background) if background else total
    order = np.argsort(~must + rng.random(owners.shape) * 0.5, axis=1, kind="stable")
    return np.sort(order[:, :kept], axis=1)


def layer_places(kept: np.ndarray, rng, num_layers: int) -> tuple[Places, Places, int]:
    """Rotary positions of the first layers, of the later ones, and the layer where they change.

    The first layers have the positions of the full clip, as in a pruned prefill. From a random
    layer on, half of the clips are renumbered without gaps: pruners do either, and the decoder
    should have met both.
    """
    first = len(BEFORE_IMAGE)
    original = first + kept
    later = original.copy()
    starts = np.full(len(kept), first + NUM_VISUAL)
    later_starts = starts.copy()
    for number in range(len(kept)):
        if rng.random() < 0.5:
            later[number] = first + np.arange(kept.shape[1])
            later_starts[number] = first + kept.shape[1]
    tensor = torch.from_numpy
    early = Places(tensor(original), tensor(starts))
    late = Places(tensor(later), tensor(later_starts))
    return early, late, int(rng.integers(2, num_layers))


def clip_turns(facts: Facts, rng, options: dict) -> list[Turn]:
    """Turns of one clip: lists, then questions."""
    others = [n for n in rng.permutation(list(STATEMENTS)).tolist() if n not in HARD]
    turns = show_turns(facts, rng, int(options.get("shows", 0)))
    for name in [*HARD, *others][: int(options["lists"]) - len(turns)]:
        words, wanted = STATEMENTS[name](facts, rng)
        turns.append(list_turn(name, words, wanted))
    for name, draft in training_drafts(facts, rng, int(options["questions"])):
        turns.append(question_turn(name, draft.question, draft.answer))
    return turns


def show_turns(facts: Facts, rng, count: int) -> list[Turn]:
    """``count`` lists of `shows`, in random order."""
    names = rng.permutation(list(SHOW_LISTS)).tolist()[:count] if count else []
    return [list_turn(name, *SHOW_LISTS[name](facts, rng)) for name in names]


def language_loss(model, seeds, grid: int, options: dict) -> tuple[Tensor, Measures]:
    """Look-up lists and questions about clips, with a little of the alignment kept up.

    Options: ``lists`` and ``questions`` per clip, ``background`` (see `kept_tokens`), ``alignment``
    (weight of the alignment loss), ``every`` (see `packed.turn_hidden`); if wanted,
    ``shows`` (so many of the lists are those of `shows`).
    """
    clips = [make_clip(seed) for seed in seeds]
    rng = np.random.default_rng((seeds[0], 2))
    device = model.lm_head.weight.device
    with torch.no_grad():
        features = encode_clips(model, clips)
    kept = kept_tokens(clips, rng, int(options["background"]))
    kept_ids = torch.from_numpy(kept).to(device)
    rows = torch.arange(len(clips), device=device)[:, None]
    visual = project(model, features[rows, kept_ids])
    turns = [clip_turns(Facts(clip.actors), rng, options) for clip in clips]
    loss, measures = _answers(model, visual, kept, turns, rng, options)
    return loss + options["alignment"] * _kept_alignment(model, visual, kept, clips), measures


def _answers(model, visual: Tensor, kept: np.ndarray, turns, rng, options: dict):
    """Loss and accuracy of the words that the turns ask for."""
    ids, weights = pack_turns(turns, visual.device, encode)
    places = layer_places(kept, rng, len(model.model.language_model.layers))
    hidden = turn_hidden(model, visual, ids, *places, every=int(options["every"]))
    return answer_loss(model, hidden, ids, weights, turns, options["lists"])


def shows_loss(model, seeds, grid: int, options: dict) -> tuple[Tensor, Measures]:
    """Lists of `shows`, about clips whose frames are shuffled.

    They are true in any order of the frames, so one pass of the vision tower serves ``shuffles``
    clips, and nothing can be learned from the order.

    Options: ``shuffles``; ``lists`` per shuffled clip; ``patches`` of an actor that are shown of
    every frame, at random; ``background`` (see `kept_tokens`); ``every``.
    """
    rng = np.random.default_rng((seeds[0], 2))
    clips = [make_clip(seed) for seed in seeds]
    shown, kept, visual = _shuffled(model, clips, rng, options)
    turns = [show_turns(Facts(clip.actors), rng, int(options["lists"])) for clip in shown]
    return _answers(model, visual, kept, turns, rng, options)


def _shuffled(model, clips: list[Clip], rng, options: dict):
    """Clips in random orders of their frames: (clips, kept tokens, visual tokens)."""
    count = int(options["shuffles"])
    with torch.no_grad():
        features = encode_clips(model, clips).unflatten(1, (-1, TOKENS_PER_FRAME))
    orders = np.stack([rng.permutation(features.shape[1]) for _ in range(len(clips) * count)])
    shown = [reordered(clips[i // count], order) for i, order in enumerate(orders)]
    fewer = [thinned(clip, rng, int(options.get("patches", 0))) for clip in shown]
    kept = kept_tokens(fewer, rng, int(options["background"]))
    tokens = torch.from_numpy(kept).to(features.device)
    source = torch.from_numpy(orders).to(features.device).gather(1, tokens // TOKENS_PER_FRAME)
    clip = torch.arange(len(shown), device=features.device)[:, None] // count
    return shown, kept, project(model, features[clip, source, tokens % TOKENS_PER_FRAME])


def reordered(clip: Clip, order: np.ndarray) -> Clip:
    """The clip with its frames in another order: true frame by frame, not as a whole."""
    actors = tuple(replace(a, states=tuple(a.states[i] for i in order)) for a in clip.actors)
    return replace(clip, pixels=clip.pixels[order], owners=clip.owners[order], actors=actors)


def thinned(clip: Clip, rng: np.random.Generator, patches: int) -> Clip:
    """The clip with at most so many patches of an actor in a frame, at random; 0 leaves all."""
    if not patches:
        return clip
    owners = np.full_like(clip.owners, -1)
    for frame, shown in enumerate(clip.owners):
        for actor in range(len(clip.actors)):
            mine = rng.permutation(np.argwhere(shown == actor))[:patches]
            owners[frame, mine[:, 0], mine[:, 1]] = actor
    return replace(clip, owners=owners)


def _kept_alignment(model, visual: Tensor, kept: np.ndarray, clips: list[Clip]) -> Tensor:
    """Alignment of the kept patches; a class token depicts nothing and is left out."""
    target = depicted_words(clips)
    rows = np.arange(len(clips))[:, None]
    frames, places = kept // TOKENS_PER_FRAME, kept % TOKENS_PER_FRAME - 1
    patch = torch.from_numpy(places >= 0).to(visual.device)
    wanted = target[rows, frames, np.maximum(places, 0)].to(visual.device)
    return alignment_loss(model, visual[patch], wanted[patch])


LOSSES = {
    "vision": vision_loss,
    "shows": shows_loss,
    "language": language_loss,
}
