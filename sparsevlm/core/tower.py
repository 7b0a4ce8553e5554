"""What a pruner may see of the vision tower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Tower:
    """What the vision tower made of one picture, in the order of its visual tokens.

    All is of the layer whose output is projected. The n tokens are those of the picture, or of all
    frames of a video, one frame after another.

    Attributes
    ----------
    hidden, features
        ``[n, channels]`` output of that layer, and what the projector was given. They differ where
        the model adds something in between (Mini-Gemini's mining).
    attention
        ``[heads, n]`` attention of the frame's CLS token, softmax over the whole frame, CLS
        included.
    keys
        ``[n, head_dim]`` keys with bias, not scaled, mean over heads.
    cls
        ``[frames, channels]`` output of that layer for the CLS tokens, of which the language model
        gets none; without rows where they are among its visual tokens.
    cls_places
        Indices of the CLS tokens among the visual ones; empty where they are not.
    project
        Function that projects ``[rows, channels]`` to what the language model is given.
    """

    hidden: Tensor
    features: Tensor
    attention: Tensor
    keys: Tensor
    cls: Tensor
    cls_places: tuple[int, ...]
    project: Callable[[Tensor], Tensor]
