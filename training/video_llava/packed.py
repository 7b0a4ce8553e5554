"""The training forward of a decoder behind one clip (see `training.packed`).

As `training.llava.packed`, but positions may change at a layer, as they do in a pruned
prefill that renumbers what it keeps, and layers may be left out while they are the identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevlm.miniature.vocabulary import BEFORE_IMAGE, encode
from training.packed import Crowd, crowd_mask, through_layers


@dataclass(frozen=True)
class Places:
    """Rotary positions, and how many tokens each visual token stands for.

    Attributes
    ----------
    visual : long Tensor [clips, tokens]
        Position of each visual token.
    start : long Tensor [clips]
        Position of the first word of each turn.
    crowd : Tensor [clips, tokens], optional
        Logarithm of how many tokens each visual token stands for (`packed.crowd_mask`); by default
        each stands for itself.
    """

    visual: Tensor
    start: Tensor
    crowd: Tensor | None = None

    def of_all(self, turns: int, length: int, device) -> Tensor:
        """Positions of prefix, visual tokens and all turns, [clips, tokens]."""
        clips = len(self.start)
        before = torch.arange(len(BEFORE_IMAGE), device=device).expand(clips, -1)
        words = self.start[:, None].to(device) + torch.arange(length, device=device)
        return torch.cat([before, self.visual.to(device), words.repeat(1, turns)], dim=1)

    def crowd_of_all(self, lead: int, device) -> Crowd | None:
        """For prefix and visual tokens, what `packed.through_layers` wants to know of a crowd."""
        if self.crowd is None:
            return None
        stands = F.pad(self.crowd.to(device), (lead, 0))
        return stands, crowd_mask(stands)


def turn_hidden(
    model,
    visual: Tensor,
    turns: Tensor,
    places: Places,
    later: Places | None = None,
    switch: int = 0,
    every: int = 1,
    blind_from: int | None = None,
) -> Tensor:
    """Final hidden states of every turn.

    Parameters
    ----------
    visual : Tensor [clips, tokens, hidden]
        Projected visual tokens, all or a part of them.
    turns : long Tensor [clips, turns, words]
        Word ids; padding behind a turn is harmless (causal).
    places : Places
        Rotary positions in the first layers.
    later : Places, optional
        Positions from layer ``switch`` on; by default as before.
    switch : int
        First layer that uses ``later``.
    every : int
        Run only the layers whose number is a multiple of it. The same numbers as running all,
        while the others are the identity (`model.warm_start`).
    blind_from : int, optional
        From this layer on the turns see no visual token (`probes`); by default all layers see.

    Returns
    -------
    Tensor [clips, turns, words, hidden]
    """
    decoder = model.model.language_model
    clips, num_turns, length = turns.shape
    device = visual.device
    prefix_ids = torch.tensor(encode(list(BEFORE_IMAGE)), device=device)
    prefix = decoder.embed_tokens(prefix_ids).expand(clips, -1, -1)
    x = torch.cat([prefix, visual, decoder.embed_tokens(turns).flatten(1, 2)], dim=1)
    early = late = decoder.rotary_emb(x, places.of_all(num_turns, length, device))
    if later is not None:
        late = decoder.rotary_emb(x, later.of_all(num_turns, length, device))
    lead = prefix.shape[1]
    crowds = [there.crowd_of_all(lead, device) for there in (places, later or places)]
    return through_layers(
        decoder, x, (num_turns, length), lambda layer: early if layer < switch else late,
        lead, blind_from, every, lambda layer: crowds[layer >= switch],
    )  # fmt: skip
