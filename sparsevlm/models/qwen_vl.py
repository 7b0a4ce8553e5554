"""Qwen2-VL and Qwen2.5-VL: images and videos of any size, with positions in three axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from sparsevlm.models.vision import VisionLanguageModel
from sparsevlm.runtime.adapter import Grid, Picture


class QwenVL(VisionLanguageModel):
    """`Qwen2VLForConditionalGeneration` and `Qwen2_5_VLForConditionalGeneration`.

    Visual tokens are the image and video placeholders between the two vision marks; every row may
    have images, or videos, or neither.
    """

    has_mrope = True
    tower_lack = "a vision tower without a CLS token"
    towers = ("visual",)
    words = ("image", "video")

    def given(
        self, arguments: dict, word: str, lengths: Sequence[int]
    ) -> list[tuple[int, Grid | None]]:
        """Tokens and grid: (rows, columns) of an image, (frames, rows, columns) of a video.

        A "frame" of a video is one step of its grid, two frames of the film. No grid where only
        encoder outputs of unknown origin were given.

        Parameters
        ----------
        arguments, word, lengths
            See `VisionLanguageModel.given`.
        """
        sizes = self.seen(arguments, word)[1]
        if sizes is None:
            return [(len(one), None) for one in self.made(arguments, word)]
        grids = [self._in_tokens(size, word) for size in sizes.tolist()]
        return [(math.prod(grid), grid) for grid in grids]

    def pixels(self, arguments: dict, picture: Picture) -> Tensor | None:
        """Flattened patches ``[patches, values]`` of an image or video.

        Parameters
        ----------
        arguments, picture
            See `Adapter.pixels`.
        """
        pixels, sizes = self.seen(arguments, picture.word)
        if pixels is None or sizes is None or picture.number is None:
            return None
        return pixels.split(sizes.prod(dim=1).tolist())[picture.number]

    def _in_tokens(self, size: Sequence[int], word: str) -> Grid:
        merge = self.config.vision_config.spatial_merge_size
        frames, rows, columns = size[0], size[1] // merge, size[2] // merge
        return (rows, columns) if word == "image" else (frames, rows, columns)
