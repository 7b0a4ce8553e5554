"""One picture to draw on: all frames side by side, padding shown or cut off."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass

from PIL import Image, ImageDraw

from sparsevlm.explorer.run import image_bytes
from sparsevlm.explorer.samples import Picture
from sparsevlm.explorer.view.geometry import Geometry

# Longest side of the montage in pixels; more is not seen in a notebook.
LONGEST = 1400
GAP = 0.03  # between frames, as a share of a frame's width
_PAPER, _HATCH = (244, 244, 244), (214, 214, 214)


@dataclass(frozen=True)
class Montage:
    """A picture and where the tokens lie in it.

    Attributes
    ----------
    image
        The original frames at their own shape.
    rectangles
        (x, y, width, height) of every token in pixels of `image`, cut off at the frame's border;
        ``None`` for a token of which nothing is shown.
    """

    image: Image.Image
    rectangles: tuple[tuple[float, float, float, float] | None, ...]

    def data_url(self) -> str:
        """The image for a browser."""
        data = image_bytes(self.image)
        kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
        return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def montage(picture: Picture, geometry: Geometry, show_padding: bool = False) -> Montage:
    """Lay out the frames.

    Parameters
    ----------
    picture
        As the model saw it. A video may have more frames than its grid has steps (Qwen-VL puts two
        into one); then the first of each step is shown.
    geometry
        Of the tokens.
    show_padding
        Whether to show what the model saw beside the picture, hatched.
    """
    steps = geometry.num_frames
    # A step of Qwen-VL has two frames, and the last one may have been filled up.
    each = math.ceil(len(picture.frames) / steps)
    frames = [picture.frames[i * each] for i in range(steps)]
    view = _view(geometry, show_padding)
    width, height = view[2] - view[0], view[3] - view[1]
    columns = math.ceil(math.sqrt(steps))
    gap = GAP * width if steps > 1 else 0.0
    whole = (
        columns * width + (columns - 1) * gap,
        math.ceil(steps / columns) * height + (math.ceil(steps / columns) - 1) * gap,
    )
    scale = min(1.0, LONGEST / max(whole))
    image = Image.new("RGB", (round(whole[0] * scale), round(whole[1] * scale)), "white")
    corners = [
        (scale * (i % columns) * (width + gap), scale * (i // columns) * (height + gap))
        for i in range(steps)
    ]
    for frame, corner in zip(frames, corners, strict=True):
        image.paste(_framed(frame, view, scale), tuple(map(round, corner)))
    rectangles = tuple(
        found and _visible(found[1], view, scale, corners[found[0]])
        for found in geometry.rectangles()
    )
    return Montage(image, rectangles)


def _view(geometry: Geometry, show_padding: bool) -> tuple[float, float, float, float]:
    width, height = geometry.size
    if not show_padding:
        return 0, 0, width, height
    left, top, right, bottom = geometry.box
    return min(0, left), min(0, top), max(width, right), max(height, bottom)


def _framed(frame: Image.Image, view: tuple, scale: float) -> Image.Image:
    """A frame on hatched paper as large as the view."""
    size = (round((view[2] - view[0]) * scale), round((view[3] - view[1]) * scale))
    inside = (round(frame.width * scale), round(frame.height * scale))
    if size == frame.size == inside:
        return frame
    paper = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(paper)
    for x in range(-size[1], size[0], 8):
        draw.line((x, size[1], x + size[1], 0), fill=_HATCH)
    paper.paste(frame.resize(inside), (round(-view[0] * scale), round(-view[1] * scale)))
    return paper


def _visible(box: tuple, view: tuple, scale: float, corner: tuple) -> tuple | None:
    left, top = max(box[0], view[0]), max(box[1], view[1])
    right, bottom = min(box[2], view[2]), min(box[3], view[3])
    if right <= left or bottom <= top:
        return None
    x, y = corner[0] + (left - view[0]) * scale, corner[1] + (top - view[1]) * scale
    return tuple(round(v, 2) for v in (x, y, (right - left) * scale, (bottom - top) * scale))
