"""Qwen2-VL and Qwen2.5-VL: images and videos of any size, with positions in three axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparsevlm.models.vision import TowerNotes, number_of, placeholders
from sparsevlm.runtime.adapter import Adapter, Grid


@dataclass(frozen=True)
class Modality:
    """Names that belong to images, or to videos."""

    word: str
    token: str
    pixels: str
    grid_thw: str


MODALITIES = (
    Modality("image", "image_token_id", "pixel_values", "image_grid_thw"),
    Modality("video", "video_token_id", "pixel_values_videos", "video_grid_thw"),
)


class QwenVL(Adapter):
    """`Qwen2VLForConditionalGeneration` and `Qwen2_5_VLForConditionalGeneration`.

    Visual tokens are the image and video placeholders between the two vision marks; every row may
    have an image, a video or neither.
    """

    has_mrope = True
    tower_lack = "a vision tower without a CLS token"

    def __init__(self, model: Any, visual_mask: Tensor | tuple[int, int] | None = None) -> None:
        if visual_mask is not None:
            raise ValueError(
                "a Qwen-VL model finds its visual tokens itself; leave visual_mask out"
            )
        self.config = model.config
        self.base, self.decoder = model.model, model.model.language_model
        self.notes = TowerNotes()

    def attach(self, hook: Callable) -> None:
        """Watch the vision tower, which `generate` runs ahead of the model."""
        self.notes.attach(self.base.visual, hook)

    def visual_mask(self, arguments: dict) -> Tensor:
        """True at the placeholders of images and videos.

        Raises
        ------
        ValueError
            For a sample with an image and a video, or with several.
        """
        kinds = [(one.word, getattr(self.config, one.token), (one.grid_thw,)) for one in MODALITIES]
        return placeholders(arguments, kinds, self.notes)

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
        for modality in MODALITIES:
            _, grid_thw = self._seen(arguments, modality)
            if grid_thw is None:
                continue
            rows, sizes = self._rows(arguments, modality), grid_thw.tolist()
            for row in (index for index, has in enumerate(rows) if has):
                size = sizes[number_of(rows, row, len(sizes), modality.word)]
                grid = found[row] = self._in_tokens(size, modality.word)
                if torch.Size(grid).numel() != counts[row]:
                    raise ValueError(
                        f"sample {row} has {counts[row]} {modality.word} placeholders, but its "
                        f"{modality.grid_thw} {tuple(size)} gives {grid} tokens; expand the "
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
        for modality in MODALITIES:
            rows = self._rows(arguments, modality)
            pixels, grid_thw = self._seen(arguments, modality)
            if rows[row] and pixels is not None and grid_thw is not None:
                sizes = grid_thw.prod(dim=1).tolist()
                return pixels.split(sizes)[number_of(rows, row, len(sizes), modality.word)]
        return None

    def _rows(self, arguments: dict, modality: Modality) -> list[bool]:
        ids = arguments["input_ids"]
        return (ids == getattr(self.config, modality.token)).any(dim=1).tolist()

    def _seen(self, arguments: dict, modality: Modality) -> tuple[Tensor | None, Tensor | None]:
        seen = self.notes.find(arguments, modality.word)
        if seen is not None:
            return seen.pixels, seen.grid_thw
        return arguments.get(modality.pixels), arguments.get(modality.grid_thw)

    def _in_tokens(self, size: Sequence[int], word: str) -> Grid:
        merge = self.config.vision_config.spatial_merge_size
        frames, rows, columns = size[0], size[1] // merge, size[2] // merge
        return (rows, columns) if word == "image" else (frames, rows, columns)
