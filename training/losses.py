"""What the losses of all miniatures share: alignment, kept patches, and the loss of turns.

A loss takes the model, the seeds of its scenes, the stage's grid and the stage's options, and
returns the scalar to minimize with a dictionary of measures, each a pair (sum, count) over this
step's fresh scenes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.glyphs import GLYPHS
from sparsevlm.miniature.scenes import SHAPE_COLORS, SHAPES, SIDES, Scene
from sparsevlm.miniature.vocabulary import DEPICTED, INDEX
from training.packed import Places, turn_hidden
from training.turns import Measures, Turn, answer_loss, pack_turns

# Words that a patch can depict, by kind.
KINDS = {"shape": SHAPES, "color": SHAPE_COLORS, "letter": GLYPHS, "side": SIDES}

# Layers in which the turns of a scene see its picture (`seeing_layers`): the first one with its
# probability, the range of the last one, and how many scenes are seen to the end.
FROM = {0: 0.2, 1: 0.3, 2: 0.5}
UNTIL = (10, 20)
ALWAYS = 0.4


def object_words(scene: Scene) -> np.ndarray:
    """Which words each patch depicts, bool [patches, len(DEPICTED)].

    A shape depicts its shape and color, a card "card", its color and its letter, anything else
    "background".
    """
    owner = scene.patch_objects.reshape(-1)
    target = np.zeros((owner.size, len(DEPICTED)), bool)
    target[owner < 0, DEPICTED.index("background")] = True
    for index, obj in enumerate(scene.objects):
        for word in filter(None, (obj.kind, obj.color, obj.glyph)):
            target[owner == index, DEPICTED.index(word)] = True
    return target


_DEPICTED_IDS = torch.tensor([INDEX[word] for word in DEPICTED])


def alignment_logits(model, visual: torch.Tensor) -> torch.Tensor:
    """Inner products of visual tokens with every word embedding, [..., vocabulary]."""
    return visual @ model.model.language_model.embed_tokens.weight.T


def alignment_loss(model, visual: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Captioning alignment of patches and words, a scalar.

    Every depicted word must win a softmax against the words that the patch does not depict, all
    of the vocabulary included. Words that nothing depicts (articles, template) are negatives of
    every patch, so they end up unlike any visual token, as function words are in a model aligned
    on captions. Object patches weigh as much in total as background patches.

    Parameters
    ----------
    visual : Tensor [..., hidden]
    target : bool Tensor [..., len(DEPICTED)]
    """
    logits = alignment_logits(model, visual)
    ids = _DEPICTED_IDS.to(logits.device)
    positive = logits[..., ids]
    negative = logits.index_copy(
        -1, ids, positive.masked_fill(target, torch.finfo(logits.dtype).min)
    )
    normalizer = negative.logsumexp(-1, keepdim=True)
    loss = F.softplus(normalizer - positive)
    background = target[..., DEPICTED.index("background")]
    share = torch.where(background, 0.5 / background.sum(), 0.5 / (~background).sum())
    weight = target * share[..., None]
    return (loss * weight).sum() / 3


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


def scenes_loss(
    model,
    scenes: Sequence[Scene],
    rng: np.random.Generator,
    options: dict,
    positions: Callable[..., tuple[np.ndarray, np.ndarray]],
    look: Callable[[Tensor], tuple[Tensor, Tensor]],
    turns_of: Callable[[Scene, Facts], list[Turn]],
    **marks: Sequence[int],
) -> tuple[Tensor, Measures]:
    """Look-up lists and questions about scenes, with a little of the alignment kept up.

    Parameters
    ----------
    model : PreTrainedModel
    scenes : sequence of Scene
    rng : Generator
        Draws patches and positions.
    options : dict
        ``lists`` and ``questions`` per scene, ``background`` (see `kept_patches`) and
        ``alignment``, the weight of the alignment loss (none where projector and words are frozen);
        if wanted, ``sight`` for `seeing_layers`.
    positions : callable
        Scenes, kept patches and ``rng`` to their positions and those of the text.
    look : callable
        Indices of the kept patches, [scenes, kept], to their visual tokens and depicted words.
    turns_of : callable
        The turns of a scene: lists, then questions.
    **marks
        ``before`` and ``after`` of `packed.turn_hidden`.
    """
    device = model.lm_head.weight.device
    kept = kept_patches(scenes, rng, int(options["background"]))
    places = Places(*(torch.from_numpy(p).to(device) for p in positions(scenes, kept, rng)))
    visual, target = look(torch.from_numpy(kept).to(device))
    turns = [turns_of(scene, Facts(scene)) for scene in scenes]
    ids, weights = pack_turns(turns, device)
    layers = len(model.model.language_model.layers)
    blind = seeing_layers(layers, rng, len(scenes)) if options.get("sight") else None
    hidden = turn_hidden(model, visual, ids, places, blind=blind, **marks)
    loss, measures = answer_loss(model, hidden, ids, weights, turns, options["lists"])
    if weight := options.get("alignment"):
        loss = loss + weight * alignment_loss(model, visual, target)
    return loss, measures


def seeing_layers(layers: int, rng: np.random.Generator, scenes: int) -> Tensor:
    """Where turns are blind, bool [layers, scenes], so that each scene is read in few layers.

    The turns of a scene see its picture from one of the first layers on (drawn by `FROM`) and, of
    most scenes, only until one of the layers in `UNTIL`. Without this a deep decoder reads all
    that it needs in its first two layers, before the words of a question know of each other; a
    large language model comes to its pictures with words that do.
    """
    first = rng.choice(list(FROM), size=scenes, p=list(FROM.values()))
    last = rng.integers(UNTIL[0], UNTIL[1] + 1, size=scenes)
    last[rng.random(scenes) < ALWAYS] = layers
    index = np.arange(layers)[:, None]
    return torch.from_numpy((index < first) | (index >= last))


def rows_of(table: Tensor, chosen: Tensor) -> Tensor:
    """Rows of [scenes, patches, ...] by their indices, [scenes, kept, ...]."""
    return table[torch.arange(len(table), device=table.device)[:, None], chosen]
