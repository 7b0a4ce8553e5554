"""LLaVA-OneVision: one picture in tiles as LLaVA-NeXT, several without, or a video."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparsevlm.models.llava_next import LlavaNext, num_tokens, side_of
from sparsevlm.runtime.adapter import Grid, Picture


class LlavaOnevision(LlavaNext):
    """`LlavaOnevisionForConditionalGeneration`: image and video placeholders are visual tokens.

    The one picture of a prompt is there as a whole and in tiles; where ``batch_num_images`` says
    that there are several, each is there as a whole with one newline. A video is its frames, each
    pooled two by two, and one newline.
    """

    words = ("image", "video")
    # Side by side the frames of two are those of one to a tower that `generate` runs.
    single = ("video",)
    has_cls = False

    def given(
        self, arguments: dict, word: str, lengths: Sequence[int]
    ) -> list[tuple[int, Grid | None]]:
        """Tokens of every picture or video; no grid, for the newlines.

        Parameters
        ----------
        arguments, word, lengths
            See `VisionLanguageModel.given`.
        """
        if word == "image":
            return super().given(arguments, word, lengths)
        made, pixels = self.made(arguments, word), arguments.get("pixel_values_videos")
        if pixels is not None:
            return [(pixels.shape[1] * self._per_frame + 1, None)] * len(pixels)
        return [(len(one), None) for one in made]

    def counts(self, arguments: dict, sizes: Sequence[Sequence[int]]) -> list[int]:
        """See `LlavaNext.counts`; of several in a prompt each has the tokens of its whole."""
        numbers = arguments.get("batch_num_images")
        numbers = [1] * len(sizes) if numbers is None else numbers.tolist()
        beside = [number for number in numbers for _ in range(number)]
        return [
            num_tokens(size, self.config) if number == 1 else self._whole
            for size, number in zip(sizes, beside, strict=True)
        ]

    def views(self, arguments: dict, picture: Picture) -> tuple[Tensor, list[Grid]]:
        """See `LlavaNext.views`; a picture without tiles, and a video, is one view.

        Parameters
        ----------
        arguments, picture
            See `Adapter.pixels`.
        """
        if picture.word == "video" or picture.tokens == self._whole:
            return torch.zeros(picture.tokens, dtype=torch.int64), [(1, picture.tokens)]
        return super().views(arguments, picture)

    def pixels(self, arguments: dict, picture: Picture) -> Tensor | None:
        """The whole of a picture, or all frames of a video.

        Parameters
        ----------
        arguments, picture
            See `Adapter.pixels`.
        """
        if picture.word == "image":
            return super().pixels(arguments, picture)
        pixels, number = self.seen(arguments, "video")[0], picture.number
        if pixels is None or number is None:
            return None
        if pixels.ndim == 4:  # the tower got the frames of all videos in one row
            pixels = pixels.unflatten(0, (-1, (picture.tokens - 1) // self._per_frame))
            # Beams repeat what it made of them.
            number = number * len(pixels) // len(self.made(arguments, "video"))
        return pixels[number]

    @property
    def _whole(self) -> int:
        return side_of(self.config) ** 2 + 1

    @property
    def _per_frame(self) -> int:
        return (-(-side_of(self.config) // 2)) ** 2
