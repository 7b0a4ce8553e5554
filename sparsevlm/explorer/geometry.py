"""Where in the original image a visual token lies, and the image as it is drawn on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from sparsevlm.explorer.images import ImageInput, packed
from sparsevlm.methods.grids import Grid, token_cells

if TYPE_CHECKING:
    from sparsevlm.models.prompt_builder import Fit

Box = tuple[float, float, float, float]

# Longest side of a montage in pixels; more is not seen in a notebook.
LONGEST = 1400
GAP = 0.03  # between frames, as a share of a frame's width
_PAPER, _HATCH = (244, 244, 244), (214, 214, 214)


@dataclass(frozen=True)
class Geometry:
    """The grid of visual tokens over an image, or over every frame of a video.

    Attributes
    ----------
    grid
        (rows, columns) or (frames, rows, columns).
    size
        Width and height of the original image in pixels.
    box
        (left, top, right, bottom) of the grid in pixels of the original: larger than the image
        where it was padded, smaller where it was cropped.
    num_visual
        Visual tokens: one per cell, or also a CLS token ahead of every frame.

    Raises
    ------
    ValueError
        If grid and number of tokens do not fit, or the box is empty.
    """

    grid: tuple[int, ...]
    size: tuple[int, int]
    box: Box
    num_visual: int

    def __post_init__(self) -> None:
        token_cells(self.grid, self.num_visual)
        left, top, right, bottom = self.box
        if not (left < right and top < bottom):
            raise ValueError(f"the box {self.box} of the grid is empty; give left < right, ...")

    @classmethod
    def of(cls, fit: Fit, size: tuple[int, int], grid: Grid, num_visual: int) -> Geometry:
        """Undo what the model's preprocessing did to an image (`PromptBuilder.fit`).

        "pad" centers the image on a square, "crop" cuts the middle square out, "stretch" resizes it
        to the grid, whole.
        """
        if fit == "stretch":
            return cls(grid, size, (0.0, 0.0, float(size[0]), float(size[1])), num_visual)
        if fit == "pad":
            side = max(size)
            left, top = -((side - size[0]) // 2), -((side - size[1]) // 2)
        else:
            side = min(size)
            left, top = (size[0] - side) / 2, (size[1] - side) / 2
        return cls(grid, size, (left, top, left + side, top + side), num_visual)

    @property
    def num_frames(self) -> int:
        """1 for an image."""
        return 1 if len(self.grid) == 2 else self.grid[0]

    def rectangles(self) -> list[tuple[int, Box] | None]:
        """Frame and box of every token in pixels of the original; ``None`` for a CLS token."""
        left, top, right, bottom = self.box
        width, height = (right - left) / self.grid[-1], (bottom - top) / self.grid[-2]
        found: list[tuple[int, Box] | None] = []
        for cell in token_cells(self.grid, self.num_visual):
            if cell is None:
                found.append(None)
                continue
            frame, row, column = cell
            x, y = left + column * width, top + row * height
            found.append((frame, (x, y, x + width, y + height)))
        return found

    def padding(self) -> frozenset[int]:
        """Tokens that show nothing of the image."""
        wide, high = self.size

        def is_outside(box: Box) -> bool:
            # Half a pixel: the rounding of a border must not make a padding token an image token.
            return box[2] < 0.5 or box[3] < 0.5 or box[0] > wide - 0.5 or box[1] > high - 0.5

        boxes = self.rectangles()
        return frozenset(i for i, found in enumerate(boxes) if found and is_outside(found[1]))

    def place(self, token: int) -> str:
        """Where a token lies, in words."""
        cell = token_cells(self.grid, self.num_visual)[token]
        if cell is None:
            return "CLS token of a frame"
        frame, row, column = cell
        where = f"row {row}, column {column}"
        return where if self.num_frames == 1 else f"frame {frame}, {where}"


@dataclass(frozen=True)
class Montage:
    """All frames side by side at their own shape, and where the tokens lie in them.

    Attributes
    ----------
    rectangles
        (x, y, width, height) of every token in pixels of `image`, cut off at the frame's border;
        ``None`` for a token of which nothing is shown.
    """

    image: Image.Image
    rectangles: tuple[Box | None, ...]

    def data_url(self) -> str:
        """The image for a browser: a small one exactly, a large one, a photograph, as JPEG."""
        kind = "PNG" if max(self.image.size) <= 128 else "JPEG"
        return f"data:image/{kind.lower()};base64,{packed([self.image], kind)[0]}"


def montage(shown: ImageInput, geometry: Geometry, show_padding: bool = False) -> Montage:
    """Lay out the frames as the model saw them, on request with what it saw beside them, hatched.

    A video may have more frames than its grid has steps (Qwen-VL puts two into one); then the first
    of each step is shown.
    """
    steps = geometry.num_frames
    # A step of Qwen-VL has two frames, and the last one may have been filled up.
    each = math.ceil(len(shown.frames) / steps)
    frames = [shown.frames[i * each] for i in range(steps)]
    view: Box = (0, 0, *geometry.size)
    if show_padding:
        left, top, right, bottom = geometry.box
        view = min(0, left), min(0, top), max(view[2], right), max(view[3], bottom)
    width, height = view[2] - view[0], view[3] - view[1]
    columns = math.ceil(math.sqrt(steps))
    lines = math.ceil(steps / columns)
    gap = GAP * width if steps > 1 else 0.0
    whole = columns * (width + gap) - gap, lines * (height + gap) - gap
    scale = min(1.0, LONGEST / max(whole))
    image = Image.new("RGB", _pixels(*whole, scale), "white")
    corners = [
        (scale * (i % columns) * (width + gap), scale * (i // columns) * (height + gap))
        for i in range(steps)
    ]
    for frame, corner in zip(frames, corners, strict=True):
        framed = _framed(frame, geometry.size, view, scale)
        image.paste(framed, tuple(map(round, corner)))
    rectangles = tuple(
        found and _visible(found[1], view, scale, corners[found[0]])
        for found in geometry.rectangles()
    )
    return Montage(image, rectangles)


def _framed(frame: Image.Image, original: tuple[int, int], view: Box, scale: float) -> Image.Image:
    """A frame, which may be smaller than its original, on hatched paper as large as the view."""
    size = _pixels(view[2] - view[0], view[3] - view[1], scale)
    inside = _pixels(*original, scale)
    if size == frame.size == inside:
        return frame
    paper = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(paper)
    for x in range(-size[1], size[0], 8):
        draw.line((x, size[1], x + size[1], 0), fill=_HATCH)
    paper.paste(frame.resize(inside), (round(-view[0] * scale), round(-view[1] * scale)))
    return paper


def _pixels(width: float, height: float, scale: float) -> tuple[int, int]:
    """A size at a scale; the line that is left of a long panorama is still one pixel."""
    return max(1, round(width * scale)), max(1, round(height * scale))


def _visible(box: Box, view: Box, scale: float, corner: tuple[float, float]) -> Box | None:
    left, top = max(box[0], view[0]), max(box[1], view[1])
    right, bottom = min(box[2], view[2]), min(box[3], view[3])
    if right <= left or bottom <= top:
        return None
    x, y = corner[0] + (left - view[0]) * scale, corner[1] + (top - view[1]) * scale
    return tuple(round(v, 2) for v in (x, y, (right - left) * scale, (bottom - top) * scale))
