"""Inputs of LLaVA-1.5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sparsevlm.models.prompt_builder import Fit, PromptBuilder
from sparsevlm.models.prompts.clip import (
    CLIP_MEAN,
    CLIP_STD,
    Channels,
    clip_pixels,
    seen_by_clip,
    vicuna,
)
from sparsevlm.models.template import Media, Template

VICUNA_V1 = vicuna("user")  # conversation "vicuna_v1", with which LLaVA-1.5 was trained


@dataclass(frozen=True)
class LlavaPromptBuilder(PromptBuilder):
    """Inputs of a `LlavaForConditionalGeneration`, as LLaVA-1.5's own scripts build them.

    The converted processor of the Hub differs: it cuts the middle out of an image instead of
    padding it, and its chat template leaves the system sentence out. With images there is
    ``pixel_values`` ``[images, 3, side, side]``.

    Attributes
    ----------
    mean, std
        Of the image's channels.
    """

    template: Template = VICUNA_V1
    fit: Fit = "pad"
    mean: Channels = CLIP_MEAN
    std: Channels = CLIP_STD

    def seen(self, images: Media) -> Media:
        """See `PromptBuilder.seen`."""
        side = self.config.vision_config.image_size
        return type(images)(seen_by_clip(images, side, self.fit))

    def _visual(self, media: Sequence[Media]) -> tuple[list[list[int]], dict[str, Tensor]]:
        vision = self.config.vision_config
        count = (vision.image_size // vision.patch_size) ** 2
        count += self.config.vision_feature_select_strategy == "full"
        images = [image for one in media for image in one]
        pixels = {}
        if images:
            pixels["pixel_values"] = clip_pixels(
                images, vision.image_size, self.fit, self.mean, self.std
            )
        return [[count] * len(one) for one in media], pixels
