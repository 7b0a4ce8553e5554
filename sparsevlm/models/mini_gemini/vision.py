"""The high-resolution side of Mini-Gemini: ConvNeXt stages as one map, cut into views, and mined.

In patch-info mining every visual token looks at its own high-resolution cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ConvNextModel


class AuxTower(ConvNextModel):
    """ConvNeXt without its last norm, as in the official code, which drops all heads.

    It gives what the official tower (timm's trunk in open_clip) gives in eval mode. There DropPath
    is still on at inference, because the tower is loaded after the model was put into eval mode;
    here the towers never drop a block (`MiniGeminiModel.train`).
    """

    def __init__(self, config) -> None:
        super().__init__(config)
        self.layernorm = nn.Identity()

    def get_correct_attn_implementation(self, *args: object, **kwargs: object) -> str:
        """Whatever kernel the whole model has: there is no attention here to use it."""
        return "eager"

    def pyramid(self, pixels: Tensor) -> Tensor:
        """All stages on the grid of the first.

        Parameters
        ----------
        pixels
            ``[images, 3, side, side]``, normalised.

        Returns
        -------
        Tensor
            ``[images, channels, cells, cells]``, cells = side / 4, channels those of all stages.
        """
        # hidden_states[0] is the stem; the stages follow.
        return pyramid(self(pixels, output_hidden_states=True).hidden_states[1:])


def pyramid(stages: Sequence[Tensor]) -> Tensor:
    """Upsample every stage to the first one's grid and join the channels.

    Bilinear without aligned corners, in float32, then back to the stages' type.

    Parameters
    ----------
    stages
        ``[images, channels, height, width]`` each, the largest grid first.

    Returns
    -------
    Tensor
        ``[images, sum of channels, height, width]``.
    """
    first, *others = stages
    return torch.cat([first, *[resized(stage, first.shape[-2:]) for stage in others]], dim=1)


def resized(features: Tensor, size: Sequence[int]) -> Tensor:
    """``[images, channels, *size]``: bilinear in float32, no antialiasing, same type."""
    larger = F.interpolate(features.float(), size=tuple(size), mode="bilinear", align_corners=False)
    return larger.to(features.dtype)


def aux_views(features: Tensor, grid: int, has_global: bool) -> Iterator[Tensor]:
    """The part of a high-resolution map that belongs to each view of the image.

    Parameters
    ----------
    features
        ``[images, channels, cells, cells]``.
    grid
        Crops along a side.
    has_global
        Whether the whole image is the last view.

    Yields
    ------
    Tensor
        ``[images, channels, cells / grid, cells / grid]``: the crops row by row, then the whole
        map reduced by ``grid``.
    """
    side = features.shape[-1] // grid
    for row in range(grid):
        for column in range(grid):
            yield features[..., row * side : (row + 1) * side, column * side : (column + 1) * side]
    if has_global:
        yield resized(features, (side, side))


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
