"""Video-LLaVA: frames of a video, or an image, in front of a Llama."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from sparsevlm.models.tower import ClipModel, TowerView, tower_of
from sparsevlm.runtime.adapter import Grid, Picture

PIXELS = "pixel_values_videos"


class VideoLlava(ClipModel):
    """`VideoLlavaForConditionalGeneration`: visual tokens are the image and video placeholders."""

    towers = ("image_tower", "video_tower")
    words = ("image", "video")
    clip_towers: ClassVar = {"image": "image_tower", "video": "video_tower"}

    def tower(self, arguments: dict, picture: Picture) -> TowerView:
        """What the vision tower made of an image, or of the frames of a video.

        Parameters
        ----------
        arguments, picture
            See `Adapter.tower`.
        """
        word, per_frame = picture.word, self._tokens_per_frame(picture.word)
        states = self.states.of(getattr(self.base, self.clip_towers[word]), arguments, word)
        frames = picture.tokens // per_frame
        return tower_of(
            states,
            slice(picture.number * frames, (picture.number + 1) * frames),
            self.base.multi_modal_projector,
            has_cls=per_frame == states.after.shape[1],
        )

    def given(
        self, arguments: dict, word: str, lengths: Sequence[int]
    ) -> list[tuple[int, Grid | None]]:
        """Tokens and grid: (rows, columns) of an image, (frames, rows, columns) of a video.

        The model keeps the CLS token of every frame of a video, ahead of the frame's patches, so a
        video has ``frames * (rows * columns + 1)`` tokens, one per frame more than its grid has
        cells. The CLS token of an image is dropped, unless the config selects ``"full"`` features.

        Parameters
        ----------
        arguments, word, lengths
            See `VisionLanguageModel.given`.

        Raises
        ------
        ValueError
            For adjacent videos whose frames were encoded ahead of the call, by another hand than
            `generate`.
        """
        if word == "image":
            return super().given(arguments, word, lengths)
        per_frame, pixels = self._tokens_per_frame(word), self.seen(arguments, word)[0]
        frames = self.made(arguments, word) if pixels is None else pixels
        if pixels is not None and pixels.ndim == 5:
            number, each = pixels.shape[:2]
        elif len(frames) and PIXELS in self.asked:
            number, each = self.asked[PIXELS][:2]
        else:  # one frame after the other, of how many videos no tensor tells
            each = self.config.video_seq_length // per_frame
            if odd := next((length for length in lengths if length != each * per_frame), 0):
                raise ValueError(
                    f"{odd} video placeholders in a row are not the {each * per_frame} of a video "
                    f"of {each} frames, and of videos that were encoded ahead of the call it is "
                    "not known where one video ends: give pixel_values_videos"
                )
            number = len(frames) // each
        return [(each * per_frame, (each, *self.grid(0)))] * number

    def grid(self, tokens: int) -> Grid:
        """The patches of an image, or of a frame."""
        side = self.config.vision_config.image_size // self.config.vision_config.patch_size
        return side, side

    def pixels(self, arguments: dict, picture: Picture) -> Tensor | None:
        """Pixels of an image, or of all frames of a video.

        Parameters
        ----------
        arguments, picture
            See `Adapter.pixels`.
        """
        pixels = self.seen(arguments, picture.word)[0]
        if pixels is not None and picture.word == "video" and pixels.ndim == 4:
            pixels = pixels.unflatten(0, (-1, picture.tokens // self._tokens_per_frame("video")))
        return None if pixels is None or picture.number is None else pixels[picture.number]

    def _tokens_per_frame(self, word: str) -> int:
        patches = math.prod(self.grid(0))
        whole = word == "video" or self.config.vision_feature_select_strategy == "full"
        return patches + 1 if whole else patches
