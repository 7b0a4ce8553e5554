"""What visual tokens must tell inside the decoder (deep supervision): their frame, and the action.

Nothing in a frame says which one of the eight it is, or what its shapes do; only a decoder that
reads positions and compares frames can know. Lists and questions alone did not teach it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevlm.miniature.video_llava.clips import Actor, Clip
from sparsevlm.miniature.video_llava.question_families import WHITE
from sparsevlm.miniature.video_llava.vocabulary import ACTIONS, FRAME_WORDS, NUM_FRAMES, encode
from sparsevlm.miniature.vocabulary import BEFORE_IMAGE
from training.packed import proportional_mask
from training.turns import Measures
from training.video_llava.model import TOKENS_PER_FRAME

CLOCK_LAYER = 1  # the first of the layers that start as the identity (`model.warm_start`)
ACTION_LAYER = 7
TIMES = ("1", "2", "3")
FOUND_FROM = NUM_FRAMES - 2  # every onset and flash is over or under way by then
_SHARPNESS = 4.0  # so that a quarter of a normed state is enough to be sure


def deep_supervision(
    model, visual: Tensor, kept: np.ndarray, clips: list[Clip], options: dict,
    log_size: np.ndarray | None = None,
):  # fmt: skip
    """Weighted loss of the clock, of the actions and of the actors, and their measures.

    Options: ``clock``, ``actions`` and ``actor``, the weights; 0 leaves one out.

    Parameters
    ----------
    model : VideoLlavaForConditionalGeneration
    visual : Tensor [clips, kept, hidden]
        Projected visual tokens.
    kept : int array [clips, kept]
        Which tokens of the whole clip they are; they keep the positions of the whole clip.
    clips : list of Clip
    log_size : array [clips, kept], optional
        From `views.log_sizes`; by default each token stands for itself.

    Raises
    ------
    ValueError
        The decoder is too shallow.
    """
    clock, actions, actor = (options.get(name, 0) for name in ("clock", "actions", "actor"))
    last = ACTION_LAYER if actions or actor else CLOCK_LAYER
    layers = len(model.model.language_model.layers)
    if last + 1 >= layers:
        raise ValueError(
            f"layer {last} must tell and the next one listens, but the decoder has {layers} layers"
        )
    states = dict(visual_states(model, visual, kept, last, log_size))
    parts = []
    if clock:
        parts.append((clock, clock_loss(model, states[CLOCK_LAYER], kept)))
    if actions:
        for name, words, of in (
            ("actions", ACTIONS, patch_actions),
            ("times", TIMES, patch_flashes),
        ):
            wanted = [of(clip) for clip in clips]
            parts.append(
                (actions, word_loss(name, model, states[ACTION_LAYER], kept, wanted, words))
            )
    if actor:
        parts.append((actor, actor_loss(model, states[ACTION_LAYER], kept, clips)))
    measures = {name: value for _, (_, found) in parts for name, value in found.items()}
    return sum(weight * loss for weight, (loss, _) in parts), measures


def visual_states(
    model, visual: Tensor, kept: np.ndarray, last: int, log_size: np.ndarray | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Number and output of each decoder layer up to ``last``, of the visual tokens."""
    decoder, first = model.model.language_model, len(BEFORE_IMAGE)
    prefix = torch.tensor(encode(list(BEFORE_IMAGE)), device=visual.device)
    before = decoder.embed_tokens(prefix).expand(len(visual), -1, -1)
    x = torch.cat([before, visual], dim=1)
    places = np.concatenate([np.tile(np.arange(first), (len(kept), 1)), first + kept], axis=1)
    rotary = decoder.rotary_emb(x, torch.from_numpy(places).to(visual.device))
    mask = None
    if log_size is not None:
        mask = proportional_mask(F.pad(torch.from_numpy(log_size).to(x), (first, 0)))
    for number, layer in enumerate(decoder.layers[: last + 1]):
        x = layer(x, attention_mask=mask, position_embeddings=rotary)
        yield number, x[:, first:]


def clock_loss(model, states: Tensor, kept: np.ndarray) -> tuple[Tensor, Measures]:
    """Cross-entropy of the frame of every visual token, from states behind `CLOCK_LAYER`.

    A frame's logit is that of its word (f1 to f8, see `_word_logits`), so the clock has no weights
    of its own and a question about "f3" can find the tokens of frame 3.
    """
    frames = torch.from_numpy(kept // TOKENS_PER_FRAME).to(states.device)
    return _right("clock", _word_logits(model, states, CLOCK_LAYER, FRAME_WORDS), frames)


def actor_loss(model, states: Tensor, kept: np.ndarray, clips: list[Clip]):
    """Cross-entropy of the action by whose word a visual token can be found, or of none.

    Patches of the last two frames are to be found by what their actor does, so that the word of an
    action looks at its actor as the name of a shape does; all other tokens by none.
    """
    late = np.arange(NUM_FRAMES * TOKENS_PER_FRAME) >= FOUND_FROM * TOKENS_PER_FRAME
    actions = np.stack([np.where(late, patch_actions(clip), -1) for clip in clips])
    wanted = torch.from_numpy(np.take_along_axis(actions, kept, axis=1)).to(states.device) + 1
    logits = F.pad(_word_logits(model, states, ACTION_LAYER, ACTIONS), (1, 0))
    return _right("actor", logits, wanted)


def _word_logits(model, states: Tensor, layer: int, words: Sequence[str]) -> Tensor:
    """Product of states behind a layer, as the next layer reads them, with words' directions."""
    decoder = model.model.language_model
    ids = torch.tensor(encode(list(words)), device=states.device)
    directions = F.normalize(decoder.embed_tokens(ids), dim=-1)
    return _SHARPNESS * decoder.layers[layer + 1].input_layernorm(states) @ directions.T


def word_loss(name: str, model, states: Tensor, kept: np.ndarray, wanted: list[np.ndarray], words):
    """Cross-entropy of one of ``words`` for the visual tokens that must tell one.

    The decoder's own head reads the states, as if the decoder ended behind `ACTION_LAYER`.

    Parameters
    ----------
    name : str
        Of the measure.
    model : VideoLlavaForConditionalGeneration
    states : Tensor [clips, kept, hidden]
    kept : int array [clips, kept]
    wanted : list of int array [tokens]
        Per clip, the place in ``words`` for every token of the whole clip; -1 for none.
    words : tuple of str
    """
    word = torch.from_numpy(np.take_along_axis(np.stack(wanted), kept, axis=1)).to(states.device)
    asked = word >= 0
    ids = torch.tensor(encode(list(words)), device=states.device)
    read = model.lm_head(model.model.language_model.norm(states[asked]))
    return _right(name, read[:, ids], word[asked])


def patch_actions(clip: Clip) -> np.ndarray:
    """Number among ACTIONS of what each visual token must tell, -1 for none, [tokens].

    Patches of an actor tell what it has done so far: before its onset or first flash, it stays. In
    the first frame nothing has been done.
    """
    return _patches(clip, lambda actor, frame: ACTIONS.index(action_so_far(actor, frame)))


def patch_flashes(clip: Clip) -> np.ndarray:
    """Number among TIMES of the flashes so far of each patch's actor, -1 for none, [tokens]."""
    return _patches(clip, lambda actor, frame: flashes_so_far(actor, frame) - 1)


def action_so_far(actor: Actor, frame: int) -> str:
    """What an actor has done up to a frame, as an action."""
    flashes_later = actor.flashes > 0 and not flashes_so_far(actor, frame)
    return "stays" if frame < actor.when or flashes_later else actor.action


def flashes_so_far(actor: Actor, frame: int) -> int:
    """How many frames up to this one show it white."""
    return sum(state is not None and state[1] == WHITE for state in actor.states[: frame + 1])


def _patches(clip: Clip, tell: Callable[[Actor, int], int]) -> np.ndarray:
    found = np.full((NUM_FRAMES, TOKENS_PER_FRAME), -1)
    for frame in range(1, NUM_FRAMES):
        for index, actor in enumerate(clip.actors):
            found[frame, 1:][clip.owners[frame].reshape(-1) == index] = tell(actor, frame)
    return found.reshape(-1)


def _right(name: str, logits: Tensor, target: Tensor) -> tuple[Tensor, Measures]:
    logits, target = logits.reshape(-1, logits.shape[-1]), target.reshape(-1)
    if not len(target):
        return logits.new_zeros(()), {}
    right = (logits.argmax(-1) == target).sum().item()
    return F.cross_entropy(logits, target), {name: (right, target.numel())}
