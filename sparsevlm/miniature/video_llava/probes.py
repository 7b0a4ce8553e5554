"""Where the miniature Video-LLaVA looks: what a naming word attends to, and until which layer.

Both probes are about the dense model; see `sparsevlm.miniature.llava.probes`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from ..recipes import TRAINING_SEEDS
from ..scenes import SHAPES
from ..vocabulary import BEFORE_IMAGE
from .clips import make_clip
from .facts import Facts
from .losses import pack_turns, token_owners
from .model import NUM_VISUAL
from .packed import Places, turn_hidden
from .question_families import FAMILIES, the
from .vision import encode_clips, project
from .vocabulary import VIDEO, encode

PROBE_SEEDS = 10**9  # clips of no training stage and of no benchmark
PROBE_CLIPS = 12
FIRST = len(BEFORE_IMAGE)


def probes(model) -> dict:
    """Both probes over `PROBE_CLIPS` clips, for the card."""
    return {
        "scenes": PROBE_CLIPS,
        "attention": attention_on_target(model, PROBE_CLIPS),
        "without_image_from": accuracy_without_image_from(model, PROBE_CLIPS),
    }


@torch.inference_mode()
def attention_on_target(model, clips: int) -> dict[str, list[float]]:
    """Share of attention on the patches of the named actor, by layer (the best head of each).

    Returns
    -------
    dict
        ``"naming word"`` and ``"last token"``: a mean per layer over one question about each of
        three names of every clip; ``"area"``: the mean share of the visual tokens that the actor
        covers over all frames, which is what looking nowhere would give.
    """
    rows: dict[str, list] = {"naming word": [], "last token": [], "area": []}
    for number in range(clips):
        clip = make_clip(PROBE_SEEDS + number)
        owners = token_owners(clip)
        visual = project(model, encode_clips(model, [clip]))
        named = Facts(clip.actors).named
        rng = np.random.default_rng(number)
        for name in rng.permutation(list(named))[:3].tolist():
            asked = "color" if name in SHAPES else "shape"
            words = [*f"what {asked} is {the(name)} ?".split(), "ASSISTANT", ":"]
            patches = np.flatnonzero(owners == clip.actors.index(named[name]))
            best = _best_head(model, visual, words, patches)
            rows["naming word"].append(best[:, words.index(name)].tolist())
            rows["last token"].append(best[:, -1].tolist())
            rows["area"].append([len(patches) / NUM_VISUAL])
    return {name: np.mean(values, axis=0).round(3).tolist() for name, values in rows.items()}


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


@torch.inference_mode()
def accuracy_without_image_from(model, clips: int) -> list[float]:
    """Share of answers that stay right when no text token sees the clip from a layer on.

    One question of every family per clip; an answer counts when every word of it, given the words
    before it, is the most likely one.

    Returns
    -------
    list of float
        Entry ``l``: accuracy when layers ``l`` and later see no visual token; the last entry, one
        more than there are layers, is the untouched model.
    """
    variants = len(model.model.language_model.layers) + 1
    right, count = np.zeros(variants), 0
    places = Places(
        torch.arange(FIRST, FIRST + NUM_VISUAL)[None], torch.tensor([FIRST + NUM_VISUAL])
    )
    for number in range(clips):
        clip = make_clip(PROBE_SEEDS + TRAINING_SEEDS + number)
        visual = project(model, encode_clips(model, [clip]))
        turns = _one_of_every_family(Facts(clip.actors), number)
        ids, asked = pack_turns([turns], visual.device)
        _, turn, place = asked.nonzero(as_tuple=True)
        for layer in range(variants):
            hidden = turn_hidden(model, visual, ids, places, blind_from=layer)
            best = model.lm_head(hidden[0, turn, place]).argmax(-1)
            wrong = set(turn[best != ids[0, turn, place + 1]].tolist())
            right[layer] += len(turns) - len(wrong)
        count += len(turns)
    return (right / count).round(3).tolist()


def _one_of_every_family(facts: Facts, number: int) -> list[tuple[str, list[str], list[float]]]:
    """Turns as `losses.clip_turns` has them, with a weight on the words of the answer alone."""
    rng = np.random.default_rng((number, 3))
    turns = []
    for name, families in FAMILIES.items():
        for draft in filter(None, (family(facts, rng) for family in families)):
            words, answer = [*draft.question.split(), "ASSISTANT", ":"], draft.answer.split()
            turns.append((name, words + answer, [0.0] * len(words) + [1.0] * len(answer)))
    return turns
