"""Open any image a user has as an upright 8-bit RGB image, or say what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image, ImageOps, UnidentifiedImageError

Frame = TypeVar("Frame")


def load_image(source: str | Path | Image.Image) -> Image.Image:
    """Read an image as a vision-language model expects it.

    EXIF rotation is applied, transparency is laid on white, 16-bit grey is scaled to 8 bits by its
    full range, and grey, palette and CMYK images become RGB.

    Parameters
    ----------
    source : path or PIL image

    Returns
    -------
    PIL.Image.Image
        Mode "RGB".

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is not an image, is truncated, or is empty.
    """
    image = source if isinstance(source, Image.Image) else _open(Path(source))
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"the image {_name(source)} is damaged or truncated ({error}); "
            "save or download it again"
        ) from error
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bit(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _name(source) -> str:
    return "given" if isinstance(source, Image.Image) else str(source)


def _open(path: Path) -> Image.Image:
    if not path.exists():
        raise FileNotFoundError(f"no image at {path}; check the path")
    try:
        return Image.open(path)
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{path} is not an image that Pillow can read; convert it to PNG or JPEG"
        ) from error


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey by its full range; other deep modes by their own largest value."""
    largest: Any = image.getextrema()[1]  # one number: the image has one channel
    full = 65535 if image.mode.startswith("I;16") or largest > 255 else 255
    return image.convert("F").point(lambda v: v * (255.0 / full)).convert("L")


def sample_frames(frames: Sequence[Frame], number: int) -> list[Frame]:
    """Choose frames evenly from the first to the last, as Video-LLaVA's own reader does.

    The index of frame i is ``i (len - 1) / (number - 1)``, rounded down. The example in the
    transformers documentation steps by ``len / number`` instead and never reaches the last frame.
    """
    last = len(frames) - 1
    if number == 1:
        return [frames[0]]
    return [frames[index * last // (number - 1)] for index in range(number)]
