"""Inputs of Qwen2-VL and Qwen2.5-VL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor
from transformers import BatchFeature, Qwen2VLImageProcessorPil

from sparsevlm.models.images import as_pixels
from sparsevlm.models.prompt_builder import Fit, PromptBuilder
from sparsevlm.models.prompts.clip import CLIP_MEAN, CLIP_STD, Channels
from sparsevlm.models.template import Media, Template, is_video

CHAT = Template(
    before="<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    after="<|im_end|>\n<|im_start|>assistant\n",
    image="<|vision_start|><|image_pad|><|vision_end|>",
    video="<|vision_start|><|video_pad|><|vision_end|>",
    end="<|im_end|>",
    again="\n<|im_start|>user\n",
)


@dataclass(frozen=True)
class QwenPromptBuilder(PromptBuilder):
    """Inputs of a `Qwen2VLForConditionalGeneration` or `Qwen2_5_VLForConditionalGeneration`.

    All given frames are used; choose them before. Frames are resized with Pillow, one by one,
    where the video processor of transformers resizes with torchvision; the layout is the same.

    There are ``mm_token_type_ids`` (0 text, 1 image, 2 video) ``[batch, tokens]``; ``pixel_values``
    ``[patches, values]`` and ``image_grid_thw`` ``[images, 3]``; ``pixel_values_videos`` and
    ``video_grid_thw`` likewise; for Qwen2.5-VL with videos ``second_per_grid_ts`` ``[videos]``.

    Attributes
    ----------
    image_tokens, frame_tokens
        Fewest and most visual tokens of an image and of a frame; it is resized where it has fewer
        or more. A token is an area of ``(patch_size * spatial_merge_size)^2`` pixels. The mean
        numbers that the paper's Table 2 prints (1311 to 1326) are out of reach with the
        processor's own limits of 4 to 1280 and far above what images of COCO give without a lower
        one. They fit these, the ones of this model in VLMEvalKit (inferred; the paper says "the
        original settings").
    fps
        Frames per second of the videos; only Qwen2.5-VL looks at it.
    mean, std
        Of the image's channels.
    """

    template: Template = CHAT
    fit: Fit = "stretch"
    image_tokens: tuple[int, int] = (1280, 16384)
    frame_tokens: tuple[int, int] = (128, 768)
    fps: float = 2.0
    mean: Channels = CLIP_MEAN
    std: Channels = CLIP_STD

    def __post_init__(self) -> None:
        if self.fps <= 0:
            raise ValueError(f"fps must be positive, got {self.fps}")

    def inputs(self, questions: Sequence[str], media: Sequence[Media]) -> BatchFeature:
        """See `PromptBuilder.inputs`; also raises ValueError for frames of different sizes."""
        made = super().inputs(questions, media)
        ids, config = made["input_ids"], self.config
        image, video = ids == config.image_token_id, ids == config.video_token_id
        made["mm_token_type_ids"] = image + 2 * video.long()
        return made

    def _visual(self, media: Sequence[Media]) -> tuple[list[list[int]], dict[str, Tensor]]:
        vision = self.config.vision_config
        counts: list[list[int]] = []
        patches: dict[str, list[Tensor]] = {"image": [], "video": []}
        grids: dict[str, list[tuple[int, int, int]]] = {"image": [], "video": []}
        for images in media:
            counts.append([])
            kind: Literal["image", "video"] = "video" if is_video(images) else "image"
            for shown in [images] if kind == "video" else [[one] for one in images]:
                found, grid = qwen_patches(shown, self.image_processor(kind))
                patches[kind].append(found)
                grids[kind].append(grid)
                counts[-1].append(prod(grid) // vision.spatial_merge_size**2)
        pixels = {}
        for given, name in {"image": "pixel_values", "video": "pixel_values_videos"}.items():
            if patches[given]:
                pixels[name] = torch.cat(patches[given])
                pixels[f"{given}_grid_thw"] = torch.tensor(grids[given])
        if grids["video"] and self.config.model_type == "qwen2_5_vl":
            seconds = vision.temporal_patch_size / self.fps
            pixels["second_per_grid_ts"] = torch.tensor([seconds] * len(grids["video"]))
        return counts, pixels

    def image_processor(self, kind: Literal["image", "video"]) -> Qwen2VLImageProcessorPil:
        """The image processor of transformers with the limits for images or frames."""
        vision = self.config.vision_config
        area = (vision.patch_size * vision.spatial_merge_size) ** 2
        fewest, most = self.frame_tokens if kind == "video" else self.image_tokens
        return Qwen2VLImageProcessorPil(
            patch_size=vision.patch_size,
            temporal_patch_size=vision.temporal_patch_size,
            merge_size=vision.spatial_merge_size,
            size={"shortest_edge": fewest * area, "longest_edge": most * area},
            image_mean=list(self.mean),
            image_std=list(self.std),
        )


def qwen_patches(
    images: Media, processor: Qwen2VLImageProcessorPil
) -> tuple[Tensor, tuple[int, int, int]]:
    """Flattened patches ``[patches, values]`` and grid (steps, rows, columns) of image or video.

    A patch is ``[channels, temporal_patch_size, patch_size, patch_size]``, flattened; patches are
    in the order steps, blocks of ``merge_size`` x ``merge_size``, rows and columns in a block. An
    odd number of frames is filled up with the last one, so an image is its own second frame. The
    image processor treats one frame at a time, repeating it in time; that repetition is replaced
    by the frames of one step.

    Raises
    ------
    ValueError
        If the frames differ in size.
    """
    images = [as_pixels(image) for image in images]
    if len({image.size for image in images}) > 1:
        sizes = sorted({image.size for image in images})
        raise ValueError(f"all frames of a video must have one size; got {sizes}")
    span, side = processor.temporal_patch_size, processor.patch_size
    done = processor(images, return_tensors="pt")
    _, rows, columns = done["image_grid_thw"][0].tolist()
    frames = done["pixel_values"].view(len(images), -1, 3, span, side, side)[:, :, :, 0]
    frames = torch.cat([frames, *[frames[-1:]] * (-len(images) % span)])
    steps = frames.unflatten(0, (-1, span)).permute(0, 2, 3, 1, 4, 5)
    return steps.flatten(2).flatten(0, 1), (len(steps), rows, columns)
