"""Open a picture: as it looks right, or as the official scripts do; or say what is wrong."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

Frame = TypeVar("Frame")
Way = Literal["upright", "official"]
FULL_RANGES = {"F": (1, 255, 65535), "I": (255, 65535)}  # of deep pictures, by Pillow's mode


class ImageError(ValueError):
    """A picture cannot be opened; the message names it and says what to do."""


def load_image(
    source: str | os.PathLike[str] | bytes | Image.Image, way: Way = "upright", name: str = ""
) -> Image.Image:
    """Read a picture as a vision-language model expects it; the first one of an animation.

    Parameters
    ----------
    source : path, bytes or PIL image
        A file, what is in one, or a picture that Pillow has opened or made.
    way : str
        "upright" is what looks right, for a user's own pictures: EXIF rotation is applied,
        transparency is laid on white, deep pictures are scaled to 8 bits. "official" is what the
        benchmarks' scripts do: Pillow's ``convert("RGB")`` and nothing else. So pictures lie as
        they are stored, what is under transparency shows, and deep pictures are clipped at 255.
    name : str
        What an error calls the picture; by default its path.

    Returns
    -------
    PIL.Image.Image
        Mode "RGB".

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ImageError
        The file is no picture, is damaged, empty or cannot be read, has more pixels than Pillow
        opens, or values whose range cannot be told.
    MemoryError
        Its pixels do not fit into memory.
    TypeError
        Another kind of source, such as an array, whose range and axes are not known.

    Notes
    -----
    16-bit grey ("I;16") runs to 65535. Other deep pictures do not say how far they run: integers
    ("I") to 255 or 65535, floats ("F") to 1, 255 or 65535; the first of these that no value exceeds
    is taken. Values below 0, or just above such an end (less than twice it), are refused.

    Source
    ------
    "official" is LLaVA's `llava/eval/model_vqa_loader.py`. Difference: none.
    """
    if way not in ("upright", "official"):
        raise ValueError(f'the way must be "upright" or "official", got {way!r}')
    if not isinstance(source, (str, os.PathLike, bytes, Image.Image)):
        kind = f"{type(source).__name__} {getattr(source, 'dtype', '')}".strip()
        raise TypeError(
            f"a picture is a path, the bytes of a file or a PIL image, got {kind}; an array of "
            "8-bit values [height, width, 3] becomes one by PIL.Image.fromarray"
        )
    named = f"the image {name or _name(source)}"
    try:
        with _opened(source) as image:
            image.load()
            if 0 in image.size:
                raise _Unusable(f"is empty ({image.width} x {image.height} pixels)")
            return (_upright(image) if way == "upright" else image).convert("RGB")
    except FileNotFoundError:
        raise FileNotFoundError(f"no image at {source}; check the path") from None
    except MemoryError as error:
        raise MemoryError(f"{named} does not fit into memory") from error
    except Exception as error:  # a broken file makes Pillow's readers raise anything
        raise ImageError(f"{named} {_reason(error)}") from error


def as_pixels(image: Image.Image) -> Image.Image:
    """Return an RGB picture that is in memory as it is, any other as `load_image` reads it.

    So both what `load_image` gave and ``Image.open(...).convert("RGB")`` reach a model unchanged.
    """
    made = type(image) is Image.Image and image.mode == "RGB" and all(image.size)
    return image if made else load_image(image)


class _Unusable(Exception):
    """What is wrong with a picture, in words that follow its name."""


def _name(source: str | os.PathLike[str] | bytes | Image.Image) -> str:
    if isinstance(source, bytes):
        return "given"
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "given")
    return os.fspath(source)


def _opened(source: str | os.PathLike[str] | bytes | Image.Image) -> AbstractContextManager:
    if isinstance(source, Image.Image):
        return nullcontext(source)
    if isinstance(source, bytes):
        return Image.open(io.BytesIO(source))
    path = Path(source)
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise _Unusable(f"is a {'folder' if path.is_dir() else 'device'}; give a file")
    return Image.open(path)


def _reason(error: Exception) -> str:
    if isinstance(error, _Unusable):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "is not an image that Pillow can read; convert it to PNG or JPEG"
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"has too many pixels ({error}); make it smaller"
    if isinstance(error, OSError) and error.errno:
        return f"cannot be read ({error.strerror})"
    return (
        f"is damaged or truncated, or of a kind that Pillow does not make RGB of ({error}); save "
        "or download it again"
    )


def _upright(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode[0] in FULL_RANGES:
        return _to_8_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Scale grey of more than 8 bits by its full range, see the notes of `load_image`."""
    values = np.asarray(image, dtype=np.float64)
    low, high = values.min(), values.max()  # not a number if one value is not
    ends = (65535,) if image.mode.startswith("I;16") else FULL_RANGES[image.mode]
    full = next((end for end in ends if high <= end), 0)
    if not (low >= 0 and full) or any(end < high < 2 * end for end in ends):
        raise _Unusable(
            f"has values from {low:g} to {high:g}, whose full range cannot be told: scale them to "
            f"end at {' or '.join(map(str, ends))}"
        )
    return Image.fromarray(np.rint(values * (255 / full)).astype(np.uint8))


def sample_frames(frames: Sequence[Frame], number: int) -> list[Frame]:
    """Choose frames evenly from the first to the last, as Video-LLaVA's own reader does.

    The index of frame i is ``i (len - 1) / (number - 1)``, rounded down. The example in the
    transformers documentation steps by ``len / number`` instead and never reaches the last frame.
    """
    last = len(frames) - 1
    if number == 1:
        return [frames[0]]
    return [frames[index * last // (number - 1)] for index in range(number)]
