"""Images for a CLIP tower, and the conversations of Vicuna."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image
from PIL.Image import Resampling
from torch import Tensor
from transformers import CLIPImageProcessorPil
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from sparsevlm.models.images import ImageError, as_pixels
from sparsevlm.models.prompt_builder import Fit
from sparsevlm.models.template import Template

STRIP = 2**24  # pixels that are padded at a time
LONGEST = 200  # times as long as wide, of an image whose middle is cut out; Qwen's own limit

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
    return Template(f"{system} USER: ", " ASSISTANT:", word_mark="\u2581")


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
    seen = seen_by_clip(images, size, fit)
    return clip_processor(size, fit, mean, std)(seen, return_tensors="pt")["pixel_values"]


def seen_by_clip(images: Sequence[Image.Image], size: int, fit: Fit) -> list[Image.Image]:
    """Images as a CLIP tower sees them, before normalization: ``size`` pixels on a side.

    Parameters as in `clip_pixels`, whose result is the same for these.

    Raises
    ------
    ImageError
        An image cannot be opened, or its middle, with "crop", is next to nothing of it.
    """
    images = [as_pixels(image) for image in images]
    if fit == "pad":
        return [_padded(image, size) for image in images]
    if fit == "stretch":
        return [image.resize((size, size), Resampling.BICUBIC) for image in images]
    return [_middle(image, size) for image in images]


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


def _padded(image: Image.Image, size: int) -> Image.Image:
    """What resizing `pad_to_square` gives, strip by strip.

    The whole square of a panorama may not fit into memory. Pillow resizes the rows first, so rows
    can be resized apart.
    """
    side = max(image.size)
    left, top = (side - image.width) // 2, (side - image.height) // 2
    rows = max(1, STRIP // side)
    narrow = Image.new("RGB", (size, side), MEAN_COLOR)
    for start in range(0, image.height, rows):
        strip = Image.new("RGB", (side, min(rows, image.height - start)), MEAN_COLOR)
        strip.paste(image.crop((0, start, image.width, start + strip.height)), (left, 0))
        narrow.paste(strip.resize((size, strip.height), Resampling.BICUBIC), (0, top + start))
    return narrow.resize((size, size), Resampling.BICUBIC)


def _middle(image: Image.Image, size: int) -> Image.Image:
    """The middle square of an image whose shorter side was resized to `size`."""
    short, long = sorted(image.size)
    if long > LONGEST * short:
        raise ImageError(
            f"an image of {image.width} x {image.height} pixels is more than {LONGEST} times as "
            "long as wide, and the model would see its middle only; cut out what it should see"
        )
    resized = [size if side == short else int(size * side / short) for side in image.size]
    left, top = ((side - size) // 2 for side in resized)
    return image.resize(resized, Resampling.BICUBIC).crop((left, top, left + size, top + size))
