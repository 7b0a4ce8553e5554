"""Uniform: a control that keeps an even spread over the image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from sparsevlm.core.interface import PruningContext, Selection
from sparsevlm.methods.bases import ControlPruner
from sparsevlm.methods.constants import on_device
from sparsevlm.methods.grids import Grid, token_cells


@dataclass(frozen=True)
class Uniform(ControlPruner):
    """Keep an even spread over the grid; the spread of a later stage lies within the earlier.

    All frames of a video keep as many tokens as each other, but for one (see `even_rank`).
    """

    name: ClassVar[str] = "uniform"
    batched = True

    def select(self, context: PruningContext) -> Selection:
        """Keep the first tokens of a fixed order that spreads over the grid."""
        from sparsevlm.core.recycling import select_top

        kept = min(self.keep_at(context.layer), context.num_current)
        rank = even_rank(context.grid or (1, context.num_visual), context.num_visual)
        ranks = on_device(rank, context.visual.device)[context.source]
        keep, _ = select_top(-ranks.float(), kept, 0)
        return Selection(keep)


@lru_cache(maxsize=16)
def even_rank(grid: Grid, num_visual: int) -> tuple[int, ...]:
    """Rank of every visual token in an order that fills an image or video evenly.

    A video is filled frame by frame: every frame gets its first cell before any frame gets its
    second, in the order in which `spread_rank` fills an image, and the frames take turns in the
    order in which it fills a line. So every leading part of the order holds each frame equally
    often, but for one, and no step in time has to be weighed against a step in the image. CLS
    tokens stand for no cell and come last.

    Parameters
    ----------
    grid, num_visual
        See `sparsevlm.methods.grids.token_cells`.

    Returns
    -------
    tuple of int
        ``num_visual`` ranks, all different. For an image without a CLS token those of
        `spread_rank`.

    Raises
    ------
    ValueError
        If the grid does not give that many tokens.
    """
    cells = token_cells(grid, num_visual)
    frames, (rows, columns) = 1 if len(grid) == 2 else grid[0], grid[-2:]
    within, turn = spread_rank(rows, columns), spread_rank(1, frames)

    def place(token: int) -> tuple[int, int]:
        cell = cells[token]
        if cell is None:
            return rows * columns, token
        frame, row, column = cell
        return within[row * columns + column], turn[frame]

    rank = [0] * num_visual
    for position, token in enumerate(sorted(range(num_visual), key=place)):
        rank[token] = position
    return tuple(rank)


@lru_cache(maxsize=16)
def spread_rank(rows: int, columns: int) -> tuple[int, ...]:
    """Rank of every cell in an order in which each next cell is farthest from all before it.

    Parameters
    ----------
    rows, columns
        Size of the grid.

    Returns
    -------
    tuple of int
        ``rows * columns`` ranks in raster order; the middle cell has rank 0. Distances are
        Euclidean; a border counts as a neighbour half a gap away, so that the cells do not pile
        up on the rim.
    """
    import numpy as np

    place = np.argwhere(np.ones((rows, columns))).astype(float)
    size = np.array([rows, columns], dtype=float)
    rim = 2 * np.minimum(place + 0.5, size - place - 0.5).min(axis=1)
    gap = np.square(rim)
    # Squared gaps are whole numbers and many tie: without a mixing order of the ties the cells
    # would fill up from the top.
    mixing = np.arange(len(place)) * 0.6180339887498949 % 1
    middle = (rows // 2) * columns + columns // 2
    rank, next_cell = [0] * len(place), middle
    for step in range(len(place)):
        rank[next_cell] = step
        gap = np.minimum(gap, np.square(place - place[next_cell]).sum(axis=1))
        gap[next_cell] = -2  # taken: below any free cell, mixing included
        next_cell = int((gap + mixing).argmax())
    return tuple(rank)
