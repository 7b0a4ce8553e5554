"""Pooled: a control that ignores the question, the image at a lower resolution.

Before layer 0 the grid of visual tokens is divided into as many cells as the budget allows, and the
mean of every cell goes on in its place. It is the down-sampled image, taken behind the encoder:
every method must beat it at the same budget before its choice of tokens is worth anything.

Difference
----------
Published comparisons shrink the image before the encoder. That changes the encoder's input size,
which CLIP towers with a fixed table of positions do not take; pooling needs nothing of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from sparsevlm.core.interface import Groups, PruningContext, Selection
from sparsevlm.methods.bases import InputPruner
from sparsevlm.methods.constants import on_device
from sparsevlm.methods.grids import Grid, token_cells

SQUARE_ENOUGH = 2  # a cell's longer side over its shorter one


@dataclass(frozen=True)
class Pooled(InputPruner):
    """Mean over the cells of a coarser grid; class tokens of a video are dropped."""

    name: ClassVar[str] = "pooled"
    batched = True

    def select(self, context: PruningContext) -> Selection:
        """One mean per cell, at the place of the first token of the cell."""
        import torch

        device, grid = context.visual.device, context.grid or (1, context.num_visual)
        parts = cells_of(grid, context.num_visual, self.keep_at(context.layer))
        members, labels, anchors, sizes = (on_device(part, device) for part in parts)
        *batch, _, hidden = context.visual.shape
        total = context.visual.new_zeros(*batch, len(sizes), hidden, dtype=torch.float32)
        total.index_add_(-2, labels, context.visual.index_select(len(batch), members).float())
        vectors = (total / sizes[:, None]).to(context.visual.dtype)
        keep = torch.empty(*batch, 0, dtype=torch.int64, device=device)
        return Selection(keep, Groups(members, labels), vectors, anchors.expand(*batch, -1))


@lru_cache(maxsize=64)
def cells_of(grid: Grid, num_visual: int, tokens: int) -> tuple[tuple[int, ...], ...]:
    """The cells of `cell_labels` as four lists.

    Parameters
    ----------
    grid, num_visual, tokens
        See `cell_labels`.

    Returns
    -------
    members, labels, anchors, sizes
        The tokens that lie in a cell and the cell of each; the first token of every cell and how
        many it has.
    """
    found = [(token, cell) for token, cell in
             enumerate(cell_labels(grid, num_visual, tokens)) if cell >= 0]  # fmt: skip
    inside: dict[int, list[int]] = {}
    for token, cell in found:
        inside.setdefault(cell, []).append(token)
    ordered = [inside[cell] for cell in sorted(inside)]
    members, labels = zip(*found, strict=True)
    return members, labels, tuple(min(cell) for cell in ordered), tuple(map(len, ordered))


def cell_labels(grid: Grid, num_visual: int, tokens: int) -> tuple[int, ...]:
    """Which cell of the coarse grid each visual token falls into.

    Parameters
    ----------
    grid, num_visual
        See `sparsevlm.methods.grids.token_cells`.
    tokens
        The budget. Frames of a video share it equally, but for one; a frame has no more cells than
        patches.

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
    rows, columns = grid[-2:]
    lines, starts = [], [0]
    for frame in range(frames):
        share = tokens * (frame + 1) // frames - tokens * frame // frames
        lines.append(coarse_grid(rows, columns, min(share, rows * columns)))
        starts.append(starts[-1] + sum(lines[-1]))
    labels = []
    for cell in token_cells(grid, num_visual):
        if cell is None:
            labels.append(-1)
            continue
        frame, row, column = cell
        line = lines[frame]
        down = row * len(line) // rows
        labels.append(starts[frame] + sum(line[:down]) + column * line[down] // columns)
    return tuple(labels)


def coarse_grid(rows: int, columns: int, tokens: int) -> tuple[int, ...]:
    """How many cells lie in every line of the grid that an image is pooled to.

    Every line has the same number where that gives cells not longer than `SQUARE_ENOUGH` times
    their width; else, as for a prime number, some lines have one more than others. Of the grids
    left its cells are the squarest.

    Parameters
    ----------
    rows, columns
        Of the image; no cell is smaller than one of theirs.
    tokens
        Cells, from 1 to ``rows * columns``.
    """

    def fault(lines: int) -> tuple[bool, float]:
        tall, wide = rows / lines, columns * lines / tokens
        length = max(tall, wide) / min(tall, wide)
        return bool(tokens % lines) or length > SQUARE_ENOUGH, length

    fewest = -(-tokens // columns)
    lines = min(range(fewest, min(rows, tokens) + 1), key=fault)
    return tuple(tokens * (n + 1) // lines - tokens * n // lines for n in range(lines))
