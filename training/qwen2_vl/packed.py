"""The training forward of a decoder with positions in three axes, behind one image."""

from __future__ import annotations

import torch

from sparsevlm.miniature.qwen2_vl.prompts import AFTER, BEFORE, encode
from training.packed import through_layers


def turn_hidden(
    model, visual, visual_positions, turns, text_start, blind_from: int | None = None
) -> torch.Tensor:
    """Final hidden states of every turn.

    Parameters
    ----------
    visual : Tensor [images, tokens, hidden]
        Merged visual tokens, all of a image's or a part of them.
    visual_positions : long Tensor [3, images, tokens]
        Position of each visual token in time, rows and columns.
    turns : long Tensor [images, turns, words]
        Word ids; padding behind a turn is harmless (causal).
    text_start : long Tensor [images]
        Position, the same in all axes, of the mark behind the image; the words follow it.
    blind_from : int, optional
        From this layer on the turns see neither a visual token nor the mark behind them, which has
        seen them (`probes`); by default all layers see.

    Returns
    -------
    Tensor [images, turns, words, hidden]
    """
    decoder = model.model.language_model
    images, num_turns, length = turns.shape
    device = visual.device
    before, after = (
        decoder.embed_tokens(torch.tensor(encode(part), device=device)).expand(images, -1, -1)
        for part in (BEFORE, AFTER)
    )
    text = decoder.embed_tokens(turns).flatten(1, 2)
    x = torch.cat([before, visual, after, text], dim=1)
    behind = text_start[:, None] + torch.arange(len(AFTER) + length, device=device)
    marks, words = behind.split([len(AFTER), length], dim=1)
    first = torch.arange(len(BEFORE), device=device).expand(3, images, -1)
    rest = torch.cat([marks, words.repeat(1, num_turns)], dim=1).expand(3, -1, -1)
    rotary = decoder.rotary_emb(x, torch.cat([first, visual_positions, rest], dim=2))
    return through_layers(
        decoder, x, (num_turns, length), lambda layer: rotary, len(BEFORE), blind_from
    )
