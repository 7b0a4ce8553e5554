"""Images for a CLIP tower, and the conversations of Vicuna."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessorPil
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from sparsevlm.models.images import load_image
from sparsevlm.models.prompt_builder import Fit, Template

Channels = tuple[float, float, float]  # red, green and blue
CLIP_MEAN: Channels = tuple(OPENAI_CLIP_MEAN)
CLIP_STD: Channels = tuple(OPENAI_CLIP_STD)

# CLIP's mean as LLaVA's scripts turn it into a color: cut down to whole numbers, not rounded.
MEAN_COLOR = tuple(int(255 * mean) for mean in CLIP_MEAN)


def vicuna(user: str) -> Template:
    """Return Vicuna's template; `user` is what the system sentence calls the one who asks."""
    system = (
        f"A chat between a curious {user} and an artificial intelligence assistant. "
        f"The assistant gives helpful, detailed, and polite answers to the {user}'s questions."
    )
    return Template(f"{system} USER: ", " ASSISTANT:")


def clip_pixels(
    images: Sequence[Image.Image],
    size: int,
    fit: Fit,
    mean: Channels = CLIP_MEAN,
    std: Channels = CLIP_STD,
) -> Tensor:
    """Images for a CLIP tower, resized with Pillow's bicubic filter and normalized.

    Parameters
    ----------
    images
        Of any size.
    size
        Side of the tower's input in pixels.
    fit
        See `PromptBuilder.fit`; "crop" is what CLIP itself does.
    mean, std
        Of the three channels, in units of full brightness.

    Returns
    -------
    Tensor
        ``[images, 3, size, size]`` float32.
    """
    images = [load_image(image) for image in images]
    if fit == "pad":
        images = [pad_to_square(image) for image in images]
    return clip_processor(size, fit, mean, std)(images, return_tensors="pt")["pixel_values"]


def clip_processor(size: int, fit: Fit, mean: Channels, std: Channels) -> CLIPImageProcessorPil:
    """The image processor of `clip_pixels`, without its padding."""
    # Pillow's bicubic, also where torchvision is installed and the default processor is its own.
    how = {"image_mean": list(mean), "image_std": list(std)}
    square = {"height": size, "width": size}
    if fit == "stretch":
        return CLIPImageProcessorPil(size=square, do_center_crop=False, **how)
    return CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=square, **how)


def pad_to_square(image: Image.Image) -> Image.Image:
    """Center an image on a square of CLIP's mean color, as LLaVA-1.5 does before resizing."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), MEAN_COLOR)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square
