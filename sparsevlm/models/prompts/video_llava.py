"""Inputs of Video-LLaVA."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import VideoLlavaForConditionalGeneration

from sparsevlm.models.images import sample_frames
from sparsevlm.models.prompt_builder import Fit, PromptBuilder
from sparsevlm.models.prompts.clip import (
    CLIP_MEAN,
    CLIP_STD,
    Channels,
    clip_pixels,
    seen_by_clip,
    vicuna,
)
from sparsevlm.models.template import Media, Template, is_video

# Conversation "llava_v1", with which Video-LLaVA was trained and evaluated: a human, not a user.
LLAVA_V1 = replace(vicuna("human"), video="<video>\n")


def image_key() -> str:
    """Name of the argument for images, which depends on the release of transformers."""
    known = inspect.signature(VideoLlavaForConditionalGeneration.forward).parameters
    return "pixel_values" if "pixel_values" in known else "pixel_values_images"


@dataclass(frozen=True)
class VideoLlavaPromptBuilder(PromptBuilder):
    """Inputs of a `VideoLlavaForConditionalGeneration`.

    The frames are resized with Pillow's antialiased bicubic filter and then normalized, as the
    converted processor does; the original code normalizes first and interpolates bilinearly. With
    videos there is ``pixel_values_videos`` ``[videos, frames, 3, side, side]``, with images
    ``[images, 3, side, side]`` under the name that the installed transformers has for them.

    Attributes
    ----------
    mean, std
        Of the image's channels.
    """

    template: Template = LLAVA_V1
    fit: Fit = "crop"
    mean: Channels = CLIP_MEAN
    std: Channels = CLIP_STD

    @property
    def num_frames(self) -> int:
        """Frames chosen of every video, see `sample_frames`; 8 in the released model."""
        return self.config.video_seq_length // (self._patches + 1)

    def frames(self, images: Media) -> Media:
        """Return `num_frames` frames of a video, or the images."""
        return sample_frames(images, self.num_frames) if is_video(images) else images

    def seen(self, images: Media) -> Media:
        """See `PromptBuilder.seen`."""
        side = self.config.vision_config.image_size
        return type(images)(seen_by_clip(self.frames(images), side, self.fit))

    @property
    def _patches(self) -> int:
        vision = self.config.vision_config
        return (vision.image_size // vision.patch_size) ** 2

    def _visual(self, media: Sequence[Media]) -> tuple[list[list[int]], dict[str, Tensor]]:
        # The model drops the CLS token of an image, but keeps that of every frame.
        of_image = self._patches + (self.config.vision_feature_select_strategy == "full")
        of_video = self.num_frames * (self._patches + 1)
        images = [image for one in media if not is_video(one) for image in one]
        videos = [self.frames(one) for one in media if is_video(one)]
        pixels = {}
        if images:
            pixels[image_key()] = self._pixels(images)
        if videos:
            pixels["pixel_values_videos"] = torch.stack([self._pixels(video) for video in videos])
        shown = [[of_video] if is_video(one) else [of_image] * len(one) for one in media]
        return shown, pixels

    def _pixels(self, images: Media) -> Tensor:
        side = self.config.vision_config.image_size
        return clip_pixels(images, side, self.fit, self.mean, self.std)
