"""Which cell of its image or video a visual token stands for. Pure."""

from __future__ import annotations

from math import prod

Grid = tuple[int, ...]
Cell = tuple[int, int, int]


def token_cells(grid: Grid, num_visual: int) -> list[Cell | None]:
    """Place of every original visual token.

    Parameters
    ----------
    grid
        (rows, columns) of an image or (frames, rows, columns) of a video. Cells come in raster
        order, frame after frame.
    num_visual
        Visual tokens before any stage: one per cell, or also one CLS token ahead of every frame.

    Returns
    -------
    list
        ``num_visual`` entries (frame, row, column), ``None`` for a CLS token. The frame of an
        image is 0.

    Raises
    ------
    ValueError
        If the grid is not made of two or three positive sizes, or does not give that many tokens.
    """
    if len(grid) not in (2, 3) or min(grid) < 1:
        raise ValueError(
            f"a grid is (rows, columns) or (frames, rows, columns), all at least 1; got {grid}"
        )
    frames, rows, columns = (1, *grid) if len(grid) == 2 else grid
    cells = prod(grid)
    if num_visual not in (cells, cells + frames):
        raise ValueError(
            f"a grid of {' x '.join(map(str, grid))} has {cells} tokens, or {cells + frames} with "
            f"a CLS token per frame; got {num_visual}. Give the grid of the image before any stage"
        )
    lead = [None] if num_visual > cells else []
    places: list[Cell | None] = []
    for frame in range(frames):
        places += lead
        places += [(frame, row, column) for row in range(rows) for column in range(columns)]
    return places
