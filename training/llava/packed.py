"""The training forward of a decoder behind one image (see `training.packed`)."""

from __future__ import annotations

import torch

from sparsevlm.miniature.vocabulary import BEFORE_IMAGE, encode
from training.packed import through_layers


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
    before = torch.arange(prefix.shape[1], device=device).expand(images, -1)
    words = text_start[:, None] + torch.arange(length, device=device)
    positions = torch.cat([before, visual_positions, words.repeat(1, num_turns)], dim=1)
    rotary = decoder.rotary_emb(x, positions)
    return through_layers(
        decoder, x, (num_turns, length), lambda layer: rotary, prefix.shape[1], blind_from
    )
