"""Training losses of the miniature Video-LLaVA: frames first, then look-ups and questions of clips.

What a loss takes and returns is said in `training.losses`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparsevlm.miniature.video_llava.clips import Clip, make_clip
from sparsevlm.miniature.video_llava.question_families import ClipFacts
from sparsevlm.miniature.video_llava.vocabulary import NUM_FRAMES, encode
from sparsevlm.miniature.vocabulary import BEFORE_IMAGE
from training.drafts import clip_drafts
from training.llava.vision import project
from training.losses import alignment_accuracy, alignment_loss
from training.packed import Places, turn_hidden
from training.turns import (
    Measures,
    Turn,
    answer_loss,
    list_and_question_turns,
    list_turn,
    pack_turns,
)
from training.video_llava.model import NUM_VISUAL, TOKENS_PER_FRAME
from training.video_llava.statements import SHOW_LISTS, STATEMENTS
from training.video_llava.supervision import deep_supervision
from training.video_llava.views import backwards, kept_tokens, log_sizes, reordered, thinned
from training.video_llava.vision import (
    depicted_words,
    encode_clips,
    encode_frames,
    pixel_tensor,
)

# Lists that need time or more than one look-up; they are learned last, so every clip carries them.
HARD = ("who", "verify", "does", "times", "becomes")


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


def layer_places(
    kept: np.ndarray, rng, num_layers: int, log_size: np.ndarray | None = None
) -> tuple[Places, Places, int]:
    """Places of the visual tokens in the first layers, in the later ones, and where they change.

    The first layers have the positions of the full clip, as in a pruned prefill. From a random
    layer on, half of the clips are renumbered without gaps: pruners do either, and the decoder
    should have met both. With ``log_size`` (see `views.log_sizes`) these clips are pruned there:
    what is kept stands for itself from then on; the other half stays whole.
    """
    first = len(BEFORE_IMAGE)
    original = first + kept
    later = original.copy()
    starts = np.full(len(kept), first + NUM_VISUAL)
    later_starts = starts.copy()
    later_size = None if log_size is None else log_size.copy()
    for number in range(len(kept)):
        if rng.random() < 0.5:
            later[number] = first + np.arange(kept.shape[1])
            later_starts[number] = first + kept.shape[1]
            if log_size is not None:
                later_size[number] = 0
    early = Places(*_tensors(original, starts, log_size))
    late = Places(*_tensors(later, later_starts, later_size))
    return early, late, int(rng.integers(2, num_layers))


def _tensors(visual: np.ndarray, start: np.ndarray, log_size: np.ndarray | None):
    weights = None if log_size is None else torch.from_numpy(log_size).float()
    return torch.from_numpy(visual), torch.from_numpy(start), weights


def clip_turns(facts: ClipFacts, rng, options: dict) -> list[Turn]:
    """Turns of one clip: lists, then questions."""
    others = [n for n in rng.permutation(list(STATEMENTS)).tolist() if n not in HARD]
    turns = show_turns(facts, rng, int(options.get("shows", 0)))
    names = [*HARD, *others][: int(options["lists"]) - len(turns)]
    lists = [(name, STATEMENTS[name](facts, rng)) for name in names]
    drafts = clip_drafts(facts, rng, int(options["questions"]))
    return turns + list_and_question_turns(lists, drafts)


def show_turns(facts: ClipFacts, rng, count: int) -> list[Turn]:
    """``count`` lists of `SHOW_LISTS`, in random order."""
    names = rng.permutation(list(SHOW_LISTS)).tolist()[:count] if count else []
    return [list_turn(name, *SHOW_LISTS[name](facts, rng)) for name in names]


def language_loss(model, seeds, grid: int, options: dict) -> tuple[Tensor, Measures]:
    """Look-up lists and questions about clips, with a little of the alignment kept up.

    Options: ``lists`` and ``questions`` per clip, ``background`` (see `kept_tokens`), ``alignment``
    (weight of the alignment loss), ``every`` (see `packed.turn_hidden`); if wanted,
    ``shows`` (so many of the lists are those of `SHOW_LISTS`).
    """
    rng = np.random.default_rng((seeds[0], 2))
    clips, kept, visual = _shown(model, seeds, rng, options)
    log_size = log_sizes(clips, kept) if options.get("token_size", 0) else None
    turns = [clip_turns(ClipFacts(clip.actors), rng, options) for clip in clips]
    loss, measures = _answers(model, visual, kept, turns, rng, options, log_size)
    loss = loss + options["alignment"] * _kept_alignment(model, visual, kept, clips)
    if any(options.get(name, 0) for name in ("clock", "actions", "actor")):
        extra, tokens = deep_supervision(model, visual, kept, clips, options, log_size)
        loss, measures = loss + extra, measures | tokens
    return loss, measures


def _shown(model, seeds, rng, options: dict) -> tuple[list[Clip], np.ndarray, Tensor]:
    """Clips, the tokens that the decoder sees of them, and these tokens projected."""
    clips = [make_clip(seed) for seed in seeds]
    with torch.no_grad():
        features = encode_clips(model, clips)
        if options.get("both ways", 0):
            turned = features.unflatten(1, (NUM_FRAMES, TOKENS_PER_FRAME)).flip(1).flatten(1, 2)
            features = torch.cat([features, turned])
            clips += [backwards(clip) for clip in clips]
    fewer = [thinned(clip, rng, int(options.get("patches", 0))) for clip in clips]
    kept = kept_tokens(fewer, rng, int(options["background"]))
    tokens = torch.from_numpy(kept).to(features.device)
    rows = torch.arange(len(clips), device=features.device)[:, None]
    return clips, kept, project(model, features[rows, tokens])


def deep_supervision_loss(model, seeds, grid: int, options: dict) -> tuple[Tensor, Measures]:
    """What visual tokens must tell (`supervision`), without a word of text.

    Options: those of `supervision.deep_supervision`; ``patches``, ``background``, ``both ways``;
    with ``whole`` N, every Nth step is about one whole clip.
    """
    rng = np.random.default_rng((seeds[0], 2))
    whole = int(options.get("whole", 0))
    if whole and seeds[0] // len(seeds) % whole == 0:
        seeds, options = seeds[:1], {**options, "background": 0, "both ways": 0}
    clips, kept, visual = _shown(model, seeds, rng, options)
    return deep_supervision(model, visual, kept, clips, options)


def _answers(model, visual: Tensor, kept: np.ndarray, turns, rng, options: dict, log_size=None):
    """Loss and accuracy of the words that the turns ask for."""
    ids, weights = pack_turns(turns, visual.device, encode)
    places = layer_places(kept, rng, len(model.model.language_model.layers), log_size)
    hidden = turn_hidden(model, visual, ids, *places, every=int(options["every"]))
    return answer_loss(model, hidden, ids, weights, turns, options["lists"])


def shows_loss(model, seeds, grid: int, options: dict) -> tuple[Tensor, Measures]:
    """Lists of `SHOW_LISTS`, about clips whose frames are shuffled.

    They are true in any order of the frames, so one pass of the vision tower serves ``shuffles``
    clips, and nothing can be learned from the order.

    Options: ``shuffles``; ``lists`` per shuffled clip; ``patches`` of an actor that are shown of
    every frame, at random; ``background`` (see `kept_tokens`); ``every``.
    """
    rng = np.random.default_rng((seeds[0], 2))
    clips = [make_clip(seed) for seed in seeds]
    shown, kept, visual = _shuffled(model, clips, rng, options)
    turns = [show_turns(ClipFacts(clip.actors), rng, int(options["lists"])) for clip in shown]
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
    "deep_supervision": deep_supervision_loss,
    "shows": shows_loss,
    "language": language_loss,
}
