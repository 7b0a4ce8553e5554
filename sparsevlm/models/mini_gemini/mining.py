"""Patch-info mining: every visual token looks at its own high-resolution cells."""

from __future__ import annotations

import math

from torch import Tensor, nn


class PatchInfoMining(nn.Module):
    """Adds to every visual token what it finds in its window of the high-resolution map.

    One head without output projection: a token's query meets the keys of its window only. As in
    the official code the keys are divided by the scale before the product and the softmax runs in
    the working type, which matters in float16.

    Parameters
    ----------
    hidden_size
        Channels of the visual tokens.
    aux_channels
        Channels of the high-resolution map.

    Attributes
    ----------
    query, key, value
        LayerNorm and linear layer each (``vlm_uni_{query,aux,val}_projector`` in the release).
    """

    def __init__(self, hidden_size: int, aux_channels: int) -> None:
        super().__init__()
        self.query = _projector(hidden_size, hidden_size)
        self.key = _projector(aux_channels, hidden_size)
        self.value = _projector(aux_channels, hidden_size)

    def forward(self, tokens: Tensor, aux: Tensor) -> Tensor:
        """Mine.

        Parameters
        ----------
        tokens
            ``[views, tokens, hidden]``, a square of tokens row by row.
        aux
            ``[views, channels, cells, cells]``, a multiple of the square's side.

        Returns
        -------
        Tensor
            ``[views, tokens, hidden]``: ``tokens`` plus what was found.

        Raises
        ------
        ValueError
            See `windows`.
        """
        cells = windows(aux, tokens.shape[1])
        query, key, value = self.query(tokens)[:, :, None], self.key(cells), self.value(cells)
        key = key / math.sqrt(key.shape[-1])
        weights = (query @ key.transpose(-1, -2)).nan_to_num().softmax(-1)
        return tokens + (weights @ value)[:, :, 0]


def windows(aux: Tensor, num_tokens: int) -> Tensor:
    """The cells of every token.

    Parameters
    ----------
    aux
        ``[views, channels, cells, cells]``.
    num_tokens
        A square number.

    Returns
    -------
    Tensor
        ``[views, tokens, cells per token, channels]``; windows row by row, cells row by row.

    Raises
    ------
    ValueError
        If the tokens are no square, or their side does not divide the map's.
    """
    views, channels, height, width = aux.shape
    side = math.isqrt(num_tokens)
    if side * side != num_tokens or height != width or height % side:
        raise ValueError(
            f"a high-resolution map of {height} x {width} cells cannot be shared out among "
            f"{num_tokens} visual tokens: both must be square, and the map's side a multiple of "
            "the tokens'. Check image_size_aux against the size of the low-resolution image"
        )
    window = height // side
    cells = aux.reshape(views, channels, side, window, side, window)
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(views, num_tokens, window * window, channels)


def _projector(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, outputs))
