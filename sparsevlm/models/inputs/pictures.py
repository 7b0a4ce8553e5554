"""Pictures and frames as arrays for the vision towers: CLIP's and Qwen's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessorPil, Qwen2VLImageProcessorPil
from transformers.image_utils import OPENAI_CLIP_MEAN

from sparsevlm.models.images import load_image
from sparsevlm.models.inputs.samples import Picture

# CLIP's mean as LLaVA's scripts turn it into a colour: cut down to whole numbers, not rounded.
MEAN_COLOUR = tuple(int(255 * mean) for mean in OPENAI_CLIP_MEAN)


def pad_to_square(image: Image.Image) -> Image.Image:
    """Centre a picture on a square of CLIP's mean colour, as LLaVA-1.5 does before resizing."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), MEAN_COLOUR)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def clip_pixels(pictures: Sequence[Picture], size: int, *, pad: bool) -> Tensor:
    """Pictures for a CLIP tower, ``[pictures, 3, size, size]`` float32.

    Parameters
    ----------
    pictures
        Paths or PIL images.
    size
        Side of the tower's input.
    pad
        Whether to pad to a square; otherwise the middle is cut out, as CLIP itself does.
    """
    images = [load_image(picture) for picture in pictures]
    if pad:
        images = [pad_to_square(image) for image in images]
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    )
    return processor(images, return_tensors="pt")["pixel_values"]


def sample_frames(frames: Sequence[Picture], number: int) -> list[Picture]:
    """Choose frames evenly from the first to the last, as Video-LLaVA's own reader does.

    The index of frame i is ``i (len - 1) / (number - 1)``, rounded down. The example in the
    transformers documentation steps by ``len / number`` instead and never reaches the last frame.
    """
    last = len(frames) - 1
    if number == 1:
        return [frames[0]]
    return [frames[index * last // (number - 1)] for index in range(number)]


def qwen_image_patches(picture: Picture, processor: Qwen2VLImageProcessorPil) -> tuple:
    """Flattened patches ``[patches, values]`` and the grid (1, rows, columns) of one picture."""
    done = processor(load_image(picture), return_tensors="pt")
    return done["pixel_values"], tuple(done["image_grid_thw"][0].tolist())


def qwen_video_patches(
    frames: Sequence[Picture], processor: Qwen2VLImageProcessorPil
) -> tuple[Tensor, tuple[int, int, int]]:
    """Flattened patches ``[patches, values]`` and the grid (steps, rows, columns) of a video.

    A patch is ``[channels, temporal_patch_size, patch_size, patch_size]``, flattened; patches are
    in the order steps, blocks of ``merge_size`` x ``merge_size``, rows and columns in a block. An
    odd number of frames is filled up with the last one. The image processor treats one frame at a
    time, repeating it in time; that repetition is replaced by the frames of one step.

    Parameters
    ----------
    frames
        Paths or PIL images of one size.
    processor
        With the size limits for videos.

    Raises
    ------
    ValueError
        If the frames differ in size.
    """
    images = [load_image(frame) for frame in frames]
    if len({image.size for image in images}) > 1:
        sizes = sorted({image.size for image in images})
        raise ValueError(f"all frames of a video must have one size; got {sizes}")
    span, side = processor.temporal_patch_size, processor.patch_size
    images += [images[-1]] * (-len(images) % span)
    done = processor(images, return_tensors="pt")
    _, rows, columns = done["image_grid_thw"][0].tolist()
    patches = done["pixel_values"].view(len(images), rows * columns, 3, span, side, side)
    steps = torch.stack(patches[:, :, :, 0].split(1)).view(-1, span, rows * columns, 3, side, side)
    return steps.permute(0, 2, 3, 1, 4, 5).flatten(2).flatten(0, 1), (len(steps), rows, columns)
