"""The decoder's forward for training: one picture, many independent turns of text behind it.

As `llava.packed`, for a decoder with positions in three axes. The logits equal Hugging Face's own
forward on ``prefix + picture + turn`` (tests/test_miniature_qwen2_vl.py).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb

from .prompts import AFTER, BEFORE, encode


def _heads(x: torch.Tensor, head_dim: int) -> torch.Tensor:
    return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)


def _attend(attention, x, rotary, turns: tuple[int, int], causal, visible) -> torch.Tensor:
    """Self-attention of the picture's part (causal) and of every turn (that part plus itself)."""
    num_image, head_dim = len(visible), attention.head_dim
    query, key, value = (
        _heads(proj(x), head_dim) for proj in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    query, key = apply_rotary_pos_emb(query, key, *rotary)
    image = (t[:, :, :num_image] for t in (query, key, value))
    image_out = F.scaled_dot_product_attention(*image, is_causal=True)

    q, k, v = (t[:, :, num_image:].unflatten(2, turns) for t in (query, key, value))
    to_image = q.flatten(2, 3) @ key[:, :, :num_image].mT + visible
    own = q @ k.mT + causal
    scores = torch.cat([to_image.unflatten(2, turns), own], dim=-1) * attention.scaling
    weights = scores.softmax(-1)
    text_out = (weights[..., num_image:] @ v).flatten(2, 3) + (
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
    visual : Tensor [pictures, tokens, hidden]
        Merged visual tokens, all of a picture's or a part of them.
    visual_positions : long Tensor [3, pictures, tokens]
        Position of each visual token in time, rows and columns.
    turns : long Tensor [pictures, turns, words]
        Word ids; padding behind a turn is harmless (causal).
    text_start : long Tensor [pictures]
        Position, the same in all axes, of the mark behind the picture; the words follow it.
    blind_from : int, optional
        From this layer on the turns see neither a visual token nor the mark behind them, which has
        seen them (`probes`); by default all layers see.

    Returns
    -------
    Tensor [pictures, turns, words, hidden]
    """
    decoder = model.model.language_model
    pictures, num_turns, length = turns.shape
    device = visual.device
    before, after = (
        decoder.embed_tokens(torch.tensor(encode(part), device=device)).expand(pictures, -1, -1)
        for part in (BEFORE, AFTER)
    )
    text = decoder.embed_tokens(turns).flatten(1, 2)
    x = torch.cat([before, visual, after, text], dim=1)
    num_image = x.shape[1] - text.shape[1]
    behind = text_start[:, None] + torch.arange(len(AFTER) + length, device=device)
    marks, words = behind.split([len(AFTER), length], dim=1)
    first = torch.arange(len(BEFORE), device=device).expand(3, pictures, -1)
    rest = torch.cat([marks, words.repeat(1, num_turns)], dim=1).expand(3, -1, -1)
    rotary = decoder.rotary_emb(x, torch.cat([first, visual_positions, rest], dim=2))
    causal = torch.full((length, length), float("-inf"), device=device).triu(1)
    visible = torch.zeros(num_image, device=device)
    for index, layer in enumerate(decoder.layers):
        if index == blind_from:
            visible[len(BEFORE) :] = float("-inf")
        normed = layer.input_layernorm(x)
        x = x + _attend(layer.self_attn, normed, rotary, (num_turns, length), causal, visible)
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return decoder.norm(x[:, num_image:]).unflatten(1, (num_turns, length))
