"""The decoder's layers in training: one image or clip, many independent turns of text behind it.

The turns of an image share its keys and values and do not see each other, so fourteen questions
cost little more than one. The weights are those of the Hugging Face decoder, and the logits equal
its own forward on ``prefix + image + turn`` (the tests of every miniature's training).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsevlm.miniature.vocabulary import BEFORE_IMAGE, encode

Rotary = tuple[Tensor, Tensor]
# Logarithm of the token sizes (how many tokens each one stands for), and `proportional_mask` of it.
Proportional = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Places:
    """Rotary positions, and how many tokens each visual token stands for.

    Attributes
    ----------
    visual : long Tensor [images, tokens], or [3, images, tokens]
        Position of each visual token; with three axes in time, rows and columns.
    start : long Tensor [images]
        Position of what follows the visual tokens, the same in all axes.
    log_size : Tensor [images, tokens], optional
        Logarithm of how many tokens each visual token stands for (`proportional_mask`); by default
        each stands for itself.
    """

    visual: Tensor
    start: Tensor
    log_size: Tensor | None = None

    def of_all(self, lead: int, after: int, turns: int, length: int, device) -> Tensor:
        """Positions of prefix, visual tokens, what follows them and all turns."""
        behind = self.start[:, None].to(device) + torch.arange(after + length, device=device)
        marks, words = behind.split([after, length], dim=1)
        first = torch.arange(lead, device=device).expand(len(behind), -1)
        rest = torch.cat([marks, words.repeat(1, turns)], dim=1)
        axes = self.visual.shape[:-2]
        parts = (first.expand(*axes, -1, -1), self.visual.to(device), rest.expand(*axes, -1, -1))
        return torch.cat(parts, dim=-1)

    def proportional(self, lead: int, device) -> Proportional | None:
        """For prefix and visual tokens, what `through_layers` wants to know of token sizes."""
        if self.log_size is None:
            return None
        log_size = F.pad(self.log_size.to(device), (lead, 0))
        return log_size, proportional_mask(log_size)


def blind_from(model, layer: int) -> Tensor:
    """No layer from this one on sees the image: bool [layers, 1], ``blind`` of `turn_hidden`."""
    return torch.arange(len(model.model.language_model.layers))[:, None] >= layer


BEFORE_IDS = tuple(encode(list(BEFORE_IMAGE)))


def turn_hidden(
    model,
    visual: Tensor,
    turns: Tensor,
    places: Places,
    later: Places | None = None,
    switch: int = 0,
    every: int = 1,
    blind: Tensor | None = None,
    before: Sequence[int] = BEFORE_IDS,
    after: Sequence[int] = (),
) -> Tensor:
    """Final hidden states of every turn.

    Parameters
    ----------
    model : PreTrainedModel
    visual : Tensor [images, tokens, hidden]
        Projected visual tokens, all or a part of them.
    turns : long Tensor [images, turns, words]
        Word ids; padding behind a turn is harmless (causal).
    places : Places
        Rotary positions in the first layers.
    later : Places, optional
        Positions from layer ``switch`` on, as in a pruned prefill that renumbers what it keeps; by
        default as before.
    switch : int
        First layer that uses ``later``.
    every : int
        Run only the layers whose number is a multiple of it. The same numbers as running all,
        while the others are the identity (`llava.model.spread_layers`).
    blind : bool Tensor [layers, images or 1], optional
        Where the turns see neither a visual token nor the mark behind them, which has seen them;
        by default all layers see.
    before, after : sequence of int
        Ids of the words before the visual tokens, and of the mark behind them.

    Returns
    -------
    Tensor [images, turns, words, hidden]
    """
    decoder, device = model.model.language_model, visual.device
    images, num_turns, length = turns.shape
    start, end = (
        decoder.embed_tokens(torch.tensor(ids, dtype=torch.long, device=device))
        for ids in (before, after)
    )
    text = decoder.embed_tokens(turns).flatten(1, 2)
    x = torch.cat([start.expand(images, -1, -1), visual, end.expand(images, -1, -1), text], dim=1)
    counts = len(before), len(after), num_turns, length
    early = late = decoder.rotary_emb(x, places.of_all(*counts, device))
    if later is not None:
        late = decoder.rotary_emb(x, later.of_all(*counts, device))
    sizes = [there.proportional(len(before), device) for there in (places, later or places)]
    return through_layers(
        decoder, x, (num_turns, length), lambda layer: early if layer < switch else late,
        len(before), blind, every, lambda layer: sizes[layer >= switch],
    )  # fmt: skip


def through_layers(
    decoder: nn.Module,
    x: Tensor,
    turns: tuple[int, int],
    rotary: Callable[[int], Rotary],
    lead: int,
    blind: Tensor | None = None,
    every: int = 1,
    token_size: Callable[[int], Proportional | None] = lambda layer: None,
) -> Tensor:
    """Final hidden states of every turn.

    Parameters
    ----------
    decoder : Module
        Of the Llama kind.
    x : Tensor [images, tokens, hidden]
        Embeddings of the part that all turns share, then of all turns in a row.
    turns : (int, int)
        Number of turns and words of each.
    rotary : callable
        Layer number to its rotary tables for all of ``x``.
    lead : int
        Shared tokens before the visual ones.
    blind : bool Tensor [layers, images or 1], optional
        Where the turns see of the shared part only its lead; by default they see all of it.
    every : int
        Run only the layers whose number is a multiple of it.
    token_size : callable
        Layer number to the logarithm of the size of each shared token, [images, shared], with its
        `proportional_mask`, or to None where each stands for itself.

    Returns
    -------
    Tensor [images, turns, words, hidden]
    """
    number, length = turns
    shared = x.shape[1] - number * length
    causal = torch.full((length, length), float("-inf"), device=x.device).triu(1)
    unseen = torch.zeros(shared, device=x.device)
    unseen[lead:] = torch.finfo(torch.float32).min / 2
    for index, layer in enumerate(decoder.layers):
        if index % every:
            continue
        normed = layer.input_layernorm(x)
        x = x + _attend(
            layer.self_attn, normed, rotary(index), shared, turns, causal,
            None if blind is None else unseen * blind[index, :, None, None, None],
            token_size(index),
        )  # fmt: skip
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return decoder.norm(x[:, shared:]).unflatten(1, turns)


def proportional_mask(log_size: Tensor) -> Tensor:
    """Proportional causal attention (ToMe): float [images, 1, tokens, tokens].

    A token that stands for n tokens counts n times in the sum of the softmax, so a few drawn at
    random give, in expectation, the sums of all. To itself a token is one.

    Parameters
    ----------
    log_size : Tensor [images, tokens]
        Logarithm of n.
    """
    length = log_size.shape[1]
    causal = torch.full((length, length), float("-inf"), device=log_size.device).triu(1)
    return (causal + log_size[:, None] - torch.diag_embed(log_size))[:, None]


def _attend(
    attention: nn.Module, x: Tensor, rotary: Rotary, shared: int, turns: tuple[int, int],
    causal: Tensor, unseen: Tensor | None, token_size: Proportional | None,
) -> Tensor:  # fmt: skip
    """Self-attention of the shared tokens (causal) and of every turn (these plus itself)."""
    query, key, value = (
        proj(x).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for proj in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    rotate = sys.modules[type(attention).__module__].apply_rotary_pos_emb
    query, key = rotate(query, key, *rotary)
    image = (t[:, :, :shared].float() for t in (query, key, value))
    log_size, mask = token_size or (None, None)
    with torch.autocast(
        "cuda" if x.is_cuda else "cpu", enabled=False
    ):  # its backward pass is slow in bfloat16
        image_out = F.scaled_dot_product_attention(*image, attn_mask=mask, is_causal=mask is None)

    q, k, v = (t[:, :, shared:].unflatten(2, turns) for t in (query, key, value))
    to_image = q.flatten(2, 3) @ key[:, :, :shared].mT
    if unseen is not None:
        to_image = to_image + unseen
    to_image = to_image * attention.scaling
    if log_size is not None:
        to_image = to_image + log_size[:, None, None]
    own = q @ k.mT * attention.scaling + causal
    scores = torch.cat([to_image.unflatten(2, turns), own], dim=-1)
    weights = scores.softmax(-1)
    text_out = (weights[..., shared:] @ v).flatten(2, 3) + (
        weights[..., :shared].flatten(2, 3) @ value[:, :, :shared]
    )
    out = torch.cat([image_out.to(text_out.dtype), text_out], dim=2)
    return attention.o_proj(out.transpose(1, 2).flatten(2))
