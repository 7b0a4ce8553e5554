"""The decoder's layers in training: one image or clip, many independent turns of text behind it.

The turns of a image share its keys and values and do not see each other, so fourteen questions
cost little more than one. The weights are those of the Hugging Face decoder, and the logits equal
its own forward on ``prefix + image + turn`` (the tests of every miniature's training).
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Rotary = tuple[Tensor, Tensor]
Crowd = tuple[Tensor, Tensor]  # logarithm of how many tokens each one stands for, its `crowd_mask`


def through_layers(
    decoder: nn.Module,
    x: Tensor,
    turns: tuple[int, int],
    rotary: Callable[[int], Rotary],
    lead: int,
    blind_from: int | None = None,
    every: int = 1,
    crowd: Callable[[int], Crowd | None] = lambda layer: None,
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
    blind_from : int, optional
        From this layer on the turns see of the shared part only its lead; by default all layers
        see all of it.
    every : int
        Run only the layers whose number is a multiple of it.
    crowd : callable
        Layer number to the logarithm of how many tokens each shared token stands for, [images,
        shared], with its `crowd_mask`, or to None where each stands for itself.

    Returns
    -------
    Tensor [images, turns, words, hidden]
    """
    number, length = turns
    shared = x.shape[1] - number * length
    causal = torch.full((length, length), float("-inf"), device=x.device).triu(1)
    unseen = torch.zeros(shared, device=x.device)
    unseen[lead:] = float("-inf")
    for index, layer in enumerate(decoder.layers):
        if index % every:
            continue
        blind = blind_from is not None and index >= blind_from
        normed = layer.input_layernorm(x)
        x = x + _attend(
            layer.self_attn, normed, rotary(index), shared, turns, causal,
            unseen if blind else None, crowd(index),
        )  # fmt: skip
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return decoder.norm(x[:, shared:]).unflatten(1, turns)


def crowd_mask(crowd: Tensor) -> Tensor:
    """Causal attention among tokens that stand for several: float [images, 1, tokens, tokens].

    A token that stands for n tokens counts n times in the sum of the softmax, so a few drawn at
    random give, in expectation, the sums of all. To itself a token is one.

    Parameters
    ----------
    crowd : Tensor [images, tokens]
        Logarithm of n.
    """
    length = crowd.shape[1]
    causal = torch.full((length, length), float("-inf"), device=crowd.device).triu(1)
    return (causal + crowd[:, None] - torch.diag_embed(crowd))[:, None]


def _attend(
    attention: nn.Module, x: Tensor, rotary: Rotary, shared: int, turns: tuple[int, int],
    causal: Tensor, unseen: Tensor | None, crowd: Crowd | None,
) -> Tensor:  # fmt: skip
    """Self-attention of the shared tokens (causal) and of every turn (these plus itself)."""
    query, key, value = (
        proj(x).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for proj in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    rotate = sys.modules[type(attention).__module__].apply_rotary_pos_emb
    query, key = rotate(query, key, *rotary)
    image = (t[:, :, :shared] for t in (query, key, value))
    stands, mask = crowd or (None, None)
    image_out = F.scaled_dot_product_attention(*image, attn_mask=mask, is_causal=mask is None)

    q, k, v = (t[:, :, shared:].unflatten(2, turns) for t in (query, key, value))
    to_image = q.flatten(2, 3) @ key[:, :, :shared].mT
    if unseen is not None:
        to_image = to_image + unseen
    to_image = to_image * attention.scaling
    if stands is not None:
        to_image = to_image + stands[:, None, None]
    own = q @ k.mT * attention.scaling + causal
    scores = torch.cat([to_image.unflatten(2, turns), own], dim=-1)
    weights = scores.softmax(-1)
    text_out = (weights[..., shared:] @ v).flatten(2, 3) + (
        weights[..., :shared].flatten(2, 3) @ value[:, :, :shared]
    )
    out = torch.cat([image_out, text_out], dim=2)
    return attention.o_proj(out.transpose(1, 2).flatten(2))
