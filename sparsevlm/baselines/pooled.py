"""Pooled: a control that looks at nothing, the picture at a lower resolution.

Before layer 0 the grid of visual tokens is cut into as many cells as the budget allows, and the
mean of every cell goes on in its place. It is the down-sampled image, taken behind the encoder:
every method must beat it at the same budget before its choice of tokens is worth anything.

Difference
----------
Published comparisons shrink the picture before the encoder. That changes the encoder's input size,
which CLIP towers with a fixed table of positions do not take; pooling needs nothing of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from sparsevlm.budget import check_budget
from sparsevlm.contract import CutPruner, Groups, Selection, View
from sparsevlm.grids import Grid, token_cells
from sparsevlm.schedule import Cut


@dataclass(frozen=True)
class Pooled(CutPruner):
    """Mean over the cells of a coarser grid; class tokens of a video are dropped."""

    positions: str = "renumbered"

    name: ClassVar[str] = "pooled"
    scored_layer: ClassVar[str] = "next"
    counted_layer: ClassVar[str] = "next"
    needs_attention: ClassVar[bool] = False

    @classmethod
    def for_budget(cls, tokens: int, num_layers: int, num_visual: int) -> Pooled:
        """The budget's tokens in every layer."""
        check_budget(tokens, num_layers, num_visual)
        return cls((Cut(-1, tokens),))

    def select(self, view: View) -> Selection:
        """One mean per cell, at the place of the first token of the cell."""
        import torch

        device = view.visual.device
        grid = view.grid or (1, view.num_visual)
        labels = torch.tensor(cell_labels(grid, view.num_visual, self.keep_at(view.layer)))
        members = (labels >= 0).nonzero().flatten().to(device)
        labels = labels.to(device)[members]
        count = int(labels.max()) + 1
        sizes = torch.bincount(labels, minlength=count)
        total = view.visual.new_zeros(count, view.visual.shape[1], dtype=torch.float32)
        total.index_add_(0, labels, view.visual[members].float())
        vectors = (total / sizes[:, None]).to(view.visual.dtype)
        anchors = torch.full((count,), view.num_visual, device=device)
        anchors = anchors.scatter_reduce(0, labels, members, "amin")
        keep = torch.empty(0, dtype=torch.int64, device=device)
        return Selection(keep, Groups(members, labels), vectors, anchors)


@lru_cache(maxsize=64)
def cell_labels(grid: Grid, num_visual: int, tokens: int) -> tuple[int, ...]:
    """Which cell of the coarse grid each visual token falls into.

    Parameters
    ----------
    grid, num_visual
        See `sparsevlm.grids.token_cells`.
    tokens
        The budget. Frames of a video share it equally.

    Returns
    -------
    tuple of int
        ``num_visual`` cells, numbered in raster order, frame after frame; -1 for a class token.

    Raises
    ------
    ValueError
        If there are more frames than tokens.
    """
    frames = 1 if len(grid) == 2 else grid[0]
    if tokens < frames:
        raise ValueError(
            f"{frames} frames cannot be pooled to {tokens} tokens: give every frame at least one"
        )
    rows, columns = coarse_grid(grid[-2], grid[-1], tokens // frames)
    labels = []
    for cell in token_cells(grid, num_visual):
        if cell is None:
            labels.append(-1)
            continue
        frame, row, column = cell
        down, right = row * rows // grid[-2], column * columns // grid[-1]
        labels.append((frame * rows + down) * columns + right)
    return tuple(labels)


def coarse_grid(rows: int, columns: int, tokens: int) -> tuple[int, int]:
    """The grid of at most ``tokens`` cells that a picture is pooled to.

    It wastes at most one token if it can (a prime number has no grid of its own), and of the grids
    left its cells are the squarest.

    Parameters
    ----------
    rows, columns
        Of the picture; no cell is smaller than one of theirs.
    tokens
        At least 1.
    """
    possible = [
        (down, right)
        for down in range(1, min(rows, tokens) + 1)
        for right in range(1, min(columns, tokens // down) + 1)
    ]

    def fault(size: tuple[int, int]) -> tuple[int, float]:
        down, right = size
        tall, wide = rows / down, columns / right
        return max(0, tokens - down * right - 1), max(tall, wide) / min(tall, wide)

    return min(possible, key=fault)
