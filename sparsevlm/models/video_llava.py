"""Video-LLaVA: frames of a video, or an image, in front of a Llama."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from sparsevlm.models.tower import ClipModel, TowerView, tower_of
from sparsevlm.models.vision import check_equal, number_of
from sparsevlm.runtime.adapter import Grid


class VideoLlava(ClipModel):
    """`VideoLlavaForConditionalGeneration`: visual tokens are the image and video placeholders."""

    towers = ("image_tower", "video_tower")
    # The argument for images had another name in older releases of transformers.
    keys: ClassVar = {
        "image": ("pixel_values", "pixel_values_images"),
        "video": ("pixel_values_videos",),
    }
    clip_towers: ClassVar = {"image": "image_tower", "video": "video_tower"}

    def tower(self, arguments: dict, visual: Tensor, row: int) -> TowerView:
        """What the vision tower made of this row's image, or of the frames of its video.

        Parameters
        ----------
        arguments, visual, row
            See `Adapter.tower`.
        """
        word = next(word for word in self.keys if self.rows_with(arguments, word)[row])
        rows, per_frame = self.rows_with(arguments, word), self._tokens_per_frame(word)
        states = self.states.of(getattr(self.base, self.clip_towers[word]), arguments, word)
        frames = int(visual[row].sum()) // per_frame
        number = number_of(rows, row, len(states.after) // frames, word)
        return tower_of(
            states,
            slice(number * frames, (number + 1) * frames),
            self.base.multi_modal_projector,
            has_cls=per_frame == states.after.shape[1],
        )

    def grids(self, arguments: dict, counts: Sequence[int]) -> list[Grid | None]:
        """(rows, columns) of an image, (frames, rows, columns) of a video.

        The model keeps the CLS token of every frame of a video, ahead of the frame's patches, so a
        row has ``frames * (rows * columns + 1)`` tokens, one per frame more than its grid has
        cells. The CLS token of an image is dropped, unless the config selects ``"full"`` features.

        Raises
        ------
        ValueError
            If the placeholders of a row are not those of one image or one video.
        """
        found: list[Grid | None] = [None] * len(counts)
        side = self.config.vision_config.image_size // self.config.vision_config.patch_size
        for word in self.keys:
            per_frame, rows = self._tokens_per_frame(word), self.rows_with(arguments, word)
            self.check_number(arguments, rows, word)
            for row, has in enumerate(rows):
                if not has:
                    continue
                frames, rest = divmod(counts[row], per_frame)
                if rest or (word == "image" and frames != 1):
                    raise ValueError(
                        f"sample {row} has {counts[row]} {word} placeholders; expected "
                        f"{per_frame} per {'image' if word == 'image' else 'frame'}, and one "
                        f"{word} per sample: give each its own sample, and take placeholders out "
                        "of the texts"
                    )
                found[row] = (side, side) if word == "image" else (frames, side, side)
            check_equal((count for count, has in zip(counts, rows, strict=True) if has), word)
        return found

    def pixels(self, arguments: dict, visual: Tensor, row: int) -> Tensor | None:
        """Pixels of this row's image, or of all frames of its video.

        Parameters
        ----------
        arguments, visual, row
            See `Adapter.pixels`.
        """
        for word in self.keys:
            rows = self.rows_with(arguments, word)
            if rows[row]:
                given = self._seen(arguments, word, int(visual[row].sum()))
                return None if given is None else given[number_of(rows, row, len(given), word)]
        return None

    def _tokens_per_frame(self, word: str) -> int:
        vision = self.config.vision_config
        patches = (vision.image_size // vision.patch_size) ** 2
        whole = word == "video" or self.config.vision_feature_select_strategy == "full"
        return patches + 1 if whole else patches

    def _seen(self, arguments: dict, word: str, count: int) -> Tensor | None:
        seen = self.notes.find(arguments, word)
        if seen is None:
            given = (arguments.get(key) for key in self.keys[word])
            return next((pixels for pixels in given if pixels is not None), None)
        if word == "image":
            return seen.pixels
        # The tower gets the frames of all videos in one row.
        return seen.pixels.unflatten(0, (-1, count // self._tokens_per_frame(word)))
