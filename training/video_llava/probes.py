"""Where the miniature Video-LLaVA looks, and when it is done with the clip (`training.probing`)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from sparsevlm.miniature.scenes import SHAPES
from sparsevlm.miniature.video_llava.clips import make_clip
from sparsevlm.miniature.video_llava.question_families import FAMILIES, ClipFacts, the
from sparsevlm.miniature.video_llava.vocabulary import VIDEO, encode
from sparsevlm.miniature.vocabulary import BEFORE_IMAGE
from training.llava.vision import project
from training.packed import Places, blind_from, turn_hidden
from training.probing import (
    PROBE_SCENES,
    PROBE_SEEDS,
    Asked,
    Look,
    mean_looks,
    one_of_every_family,
    right_when_blind,
)
from training.recipes import TRAINING_SEEDS
from training.video_llava.model import NUM_VISUAL
from training.video_llava.views import token_owners
from training.video_llava.vision import encode_clips

FIRST = len(BEFORE_IMAGE)


@torch.inference_mode()
def probes(model, scenes: int = PROBE_SCENES) -> dict:
    """Both probes; one question about each of three names of every clip.

    The area of an actor is over all frames.
    """
    return {
        "scenes": scenes,
        "attention": mean_looks(_looks(model, scenes)),
        "without_image_from": right_when_blind(model, _asked(model, scenes), encode),
    }


def _looks(model, clips: int) -> Iterator[Look]:
    for number in range(clips):
        clip = make_clip(PROBE_SEEDS + number)
        owners = token_owners(clip)
        visual = project(model, encode_clips(model, [clip]))
        named = ClipFacts(clip.actors).named
        rng = np.random.default_rng(number)
        for name in rng.permutation(list(named))[:3].tolist():
            asked = "color" if name in SHAPES else "shape"
            words = [*f"what {asked} is {the(name)} ?".split(), "ASSISTANT", ":"]
            patches = np.flatnonzero(owners == clip.actors.index(named[name]))
            best = _best_head(model, visual, words, patches)
            yield best, words.index(name), len(patches) / NUM_VISUAL


def _best_head(model, visual: Tensor, words: list[str], patches: np.ndarray) -> Tensor:
    """Largest mass of a head on the patches, [layers, words]; only the text's rows are computed."""
    decoder = model.model.language_model
    ids = [*encode(list(BEFORE_IMAGE)), *[VIDEO] * NUM_VISUAL, *encode(words)]
    embeds = decoder.embed_tokens(torch.tensor([ids]))
    embeds[:, FIRST : FIRST + NUM_VISUAL] = visual
    states = decoder(inputs_embeds=embeds, output_hidden_states=True, use_cache=False).hidden_states
    rotary = decoder.rotary_emb(embeds, torch.arange(len(ids))[None])
    text = slice(len(ids) - len(words), None)
    hidden = torch.ones(len(words), len(ids), dtype=torch.bool).triu(len(ids) - len(words) + 1)
    found = []
    for layer, state in zip(decoder.layers, states, strict=False):
        attention, x = layer.self_attn, layer.input_layernorm(state)
        query, key = (
            proj(x).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
            for proj in (attention.q_proj, attention.k_proj)
        )
        query, key = apply_rotary_pos_emb(query, key, *rotary)
        scores = (query[:, :, text] @ key.mT * attention.scaling).masked_fill(hidden, -torch.inf)
        found.append(scores.softmax(-1)[0, :, :, FIRST + patches].sum(-1).amax(0))
    return torch.stack(found)


def _asked(model, clips: int) -> Iterator[Asked]:
    places = Places(
        torch.arange(FIRST, FIRST + NUM_VISUAL)[None], torch.tensor([FIRST + NUM_VISUAL])
    )
    for number in range(clips):
        clip = make_clip(PROBE_SEEDS + TRAINING_SEEDS + number)
        visual = project(model, encode_clips(model, [clip]))

        def hidden(ids, layer, visual=visual):
            return turn_hidden(model, visual, ids, places, blind=blind_from(model, layer))

        yield one_of_every_family(FAMILIES, ClipFacts(clip.actors), number), hidden
