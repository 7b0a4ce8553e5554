"""Qwen2-VL and Qwen2.5-VL: images and videos of any size, with positions in three axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from sparsevlm.models.vision import VisionLanguageModel, number_of
from sparsevlm.runtime.adapter import Grid

PIXELS = {"image": "pixel_values", "video": "pixel_values_videos"}


class QwenVL(VisionLanguageModel):
    """`Qwen2VLForConditionalGeneration` and `Qwen2_5_VLForConditionalGeneration`.

    Visual tokens are the image and video placeholders between the two vision marks; every row may
    have an image, a video or neither.
    """

    has_mrope = True
    tower_lack = "a vision tower without a CLS token"
    towers = ("visual",)
    keys: ClassVar = {"image": ("image_grid_thw",), "video": ("video_grid_thw",)}

    def grids(self, arguments: dict, counts: Sequence[int]) -> list[Grid | None]:
        """(rows, columns) of an image, (frames, rows, columns) of a video, in tokens.

        A "frame" of a video is one step of its grid, two frames of the film. ``None`` for a row
        without an image, and where only encoder outputs of unknown origin were given.

        Raises
        ------
        ValueError
            If a grid does not give as many tokens as the row has placeholders.
        """
        found: list[Grid | None] = [None] * len(counts)
        for word in self.keys:
            _, grid_thw = self._seen(arguments, word)
            if grid_thw is None:
                continue
            rows, sizes = self.rows_with(arguments, word), grid_thw.tolist()
            for row in (index for index, has in enumerate(rows) if has):
                size = sizes[number_of(rows, row, len(sizes), word)]
                grid = found[row] = self._in_tokens(size, word)
                if torch.Size(grid).numel() != counts[row]:
                    raise ValueError(
                        f"sample {row} has {counts[row]} {word} placeholders, but its "
                        f"{self.keys[word][0]} {tuple(size)} gives {grid} tokens; expand the "
                        "placeholder to rows x columns / spatial_merge_size^2, and take others out "
                        "of the texts"
                    )
        return found

    def pixels(self, arguments: dict, visual: Tensor, row: int) -> Tensor | None:
        """Flattened patches ``[patches, values]`` of this row's image or video.

        Parameters
        ----------
        arguments, visual, row
            See `Adapter.pixels`.
        """
        for word in self.keys:
            rows = self.rows_with(arguments, word)
            pixels, grid_thw = self._seen(arguments, word)
            if rows[row] and pixels is not None and grid_thw is not None:
                sizes = grid_thw.prod(dim=1).tolist()
                return pixels.split(sizes)[number_of(rows, row, len(sizes), word)]
        return None

    def _seen(self, arguments: dict, word: str) -> tuple[Tensor | None, Tensor | None]:
        seen = self.notes.find(arguments, word)
        if seen is not None:
            return seen.pixels, seen.grid_thw
        return arguments.get(PIXELS[word]), arguments.get(self.keys[word][0])

    def _in_tokens(self, size: Sequence[int], word: str) -> Grid:
        merge = self.config.vision_config.spatial_merge_size
        frames, rows, columns = size[0], size[1] // merge, size[2] // merge
        return (rows, columns) if word == "image" else (frames, rows, columns)
