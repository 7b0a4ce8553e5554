"""The decoder's forward for training: one image, many independent turns of text behind it.

The turns of an image share its keys and values and do not see each other, so fourteen questions
cost little more than one. The weights are those of the Hugging Face decoder, and the logits equal
its own forward on ``prefix + image + turn`` (tests/test_miniature_training.py).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from ..vocabulary import BEFORE_IMAGE, encode


def _heads(x: torch.Tensor, head_dim: int) -> torch.Tensor:
    return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)


def _attend(
    attention, x, rotary, num_image: int, turns: tuple[int, int], causal, blind: bool
) -> torch.Tensor:
    """Self-attention of image tokens (causal) and of every turn (image plus itself).

    ``blind`` turns see of the image part only what precedes the visual tokens.
    """
    head_dim = attention.head_dim
    query, key, value = (
        _heads(proj(x), head_dim) for proj in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    query, key = apply_rotary_pos_emb(query, key, *rotary)
    image = (t[:, :, :num_image] for t in (query, key, value))
    image_out = F.scaled_dot_product_attention(*image, is_causal=True)

    q, k, v = (t[:, :, num_image:].unflatten(2, turns) for t in (query, key, value))
    to_image = q.flatten(2, 3) @ key[:, :, :num_image].mT
    if blind:
        to_image[..., len(BEFORE_IMAGE) :] = float("-inf")
    own = q @ k.mT + causal
    scores = torch.cat([to_image.unflatten(2, turns), own], dim=-1) * attention.scaling
    weights = scores.softmax(-1)
    text_out = weights[..., num_image:] @ v
    text_out = text_out.flatten(2, 3) + (
        weights[..., :num_image].flatten(2, 3) @ value[:, :, :num_image]
    )
    out = torch.cat([image_out, text_out], dim=2)
    return attention.o_proj(out.transpose(1, 2).flatten(2))


def turn_hidden(
    model, visual, visual_positions, turns, text_start, blind_from: int | None = None
) -> torch.Tensor:
    """Final hidden states of every turn.

    Parameters
    ----------
    visual : Tensor [images, tokens, hidden]
        Projected visual tokens, all 576 or a part of them.
    visual_positions : long Tensor [images, tokens]
        Rotary position of each visual token.
    turns : long Tensor [images, turns, words]
        Word ids; padding behind a turn is harmless (causal).
    text_start : long Tensor [images]
        Rotary position of the first word of each turn.
    blind_from : int, optional
        From this layer on the turns see no visual token (`probes`); by default all layers see.

    Returns
    -------
    Tensor [images, turns, words, hidden]
    """
    decoder = model.model.language_model
    images, num_turns, length = turns.shape
    device = visual.device
    prefix_ids = torch.tensor(encode(list(BEFORE_IMAGE)), device=device)
    prefix = decoder.embed_tokens(prefix_ids).expand(images, -1, -1)
    text = decoder.embed_tokens(turns).flatten(1, 2)
    x = torch.cat([prefix, visual, text], dim=1)
    num_image = prefix.shape[1] + visual.shape[1]
    before = torch.arange(prefix.shape[1], device=device).expand(images, -1)
    words = text_start[:, None] + torch.arange(length, device=device)
    positions = torch.cat([before, visual_positions, words.repeat(1, num_turns)], dim=1)
    rotary = decoder.rotary_emb(x, positions)
    causal = torch.full((length, length), float("-inf"), device=device).triu(1)
    blind_from = len(decoder.layers) if blind_from is None else blind_from
    for index, layer in enumerate(decoder.layers):
        normed, shape = layer.input_layernorm(x), (num_turns, length)
        blind = index >= blind_from
        x = x + _attend(layer.self_attn, normed, rotary, num_image, shape, causal, blind)
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return decoder.norm(x[:, num_image:]).unflatten(1, (num_turns, length))
