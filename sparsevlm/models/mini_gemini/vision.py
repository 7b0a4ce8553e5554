"""The high-resolution side of Mini-Gemini: ConvNeXt stages as one map, cut into views."""

from __future__ import annotations

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
