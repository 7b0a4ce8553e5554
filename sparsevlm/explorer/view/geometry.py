"""Where in the original picture a visual token lies, with padding and cropping undone. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sparsevlm.methods.grids import Grid, token_cells

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Geometry:
    """The grid of visual tokens over a picture, or over every frame of a video.

    Attributes
    ----------
    grid
        (rows, columns) or (frames, rows, columns).
    size
        Width and height of the original picture in pixels.
    box
        (left, top, right, bottom) of the grid in pixels of the original: larger than the picture
        where it was padded, smaller where it was cropped.
    num_visual
        Visual tokens: one per cell, or also a CLS token ahead of every frame.

    Raises
    ------
    ValueError
        If grid and number of tokens do not fit, or the box is empty.
    """

    grid: Grid
    size: tuple[int, int]
    box: Box
    num_visual: int

    def __post_init__(self) -> None:
        token_cells(self.grid, self.num_visual)
        left, top, right, bottom = self.box
        if not (left < right and top < bottom):
            raise ValueError(f"the box {self.box} of the grid is empty; give left < right, ...")

    @property
    def num_frames(self) -> int:
        """1 for a picture."""
        return 1 if len(self.grid) == 2 else self.grid[0]

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a token in pixels of the original."""
        left, top, right, bottom = self.box
        return (right - left) / self.grid[-1], (bottom - top) / self.grid[-2]

    def rectangles(self) -> list[tuple[int, Box] | None]:
        """Frame and box of every token in pixels of the original; ``None`` for a CLS token."""
        width, height = self.cell
        left, top = self.box[:2]
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
        """Tokens that show nothing of the picture."""
        wide, high = self.size

        def outside(box: Box) -> bool:
            # Half a pixel: the rounding of a border must not make a padding token a picture token.
            return box[2] < 0.5 or box[3] < 0.5 or box[0] > wide - 0.5 or box[1] > high - 0.5

        boxes = self.rectangles()
        return frozenset(i for i, found in enumerate(boxes) if found and outside(found[1]))

    def place(self, token: int) -> str:
        """Where a token lies, in words."""
        cell = token_cells(self.grid, self.num_visual)[token]
        if cell is None:
            return "CLS token of a frame"
        frame, row, column = cell
        where = f"row {row}, column {column}"
        return where if self.num_frames == 1 else f"frame {frame}, {where}"


def stretched(size: tuple[int, int], grid: Grid, num_visual: int) -> Geometry:
    """The picture was resized to the grid, whole: the miniature, Qwen-VL."""
    return Geometry(grid, size, (0.0, 0.0, float(size[0]), float(size[1])), num_visual)


def padded(size: tuple[int, int], grid: Grid, num_visual: int) -> Geometry:
    """The picture was centred on a square: LLaVA-1.5's own scripts."""
    side = max(size)
    left, top = -((side - size[0]) // 2), -((side - size[1]) // 2)
    return Geometry(grid, size, (left, top, left + side, top + side), num_visual)


def cropped(size: tuple[int, int], grid: Grid, num_visual: int) -> Geometry:
    """The middle square was cut out: CLIP, Video-LLaVA."""
    side = min(size)
    left, top = (size[0] - side) / 2, (size[1] - side) / 2
    return Geometry(grid, size, (left, top, left + side, top + side), num_visual)
