"""Cells of pictures and videos, and the even spread over them."""

from __future__ import annotations

from collections import Counter

import pytest

from sparsevlm.methods.grids import token_cells
from sparsevlm.methods.uniform import even_rank, spread_rank


def test_cells_of_a_picture():
    assert token_cells((2, 3), 6) == [(0, r, c) for r in range(2) for c in range(3)]
    assert token_cells((2, 3), 7) == [None, *token_cells((2, 3), 6)]


def test_cells_of_a_video():
    cells = token_cells((2, 2, 3), 12)
    assert cells[6] == (1, 0, 0) and cells[-1] == (1, 1, 2) and len(set(cells)) == 12
    with_cls = token_cells((2, 2, 3), 14)
    assert with_cls[0] is None and with_cls[7] is None
    assert [cell for cell in with_cls if cell] == cells


@pytest.mark.parametrize("grid", [(6,), (1, 2, 3, 1), (0, 6), (-2, -3)])
def test_what_is_no_grid(grid):
    with pytest.raises(ValueError, match="a grid is"):
        token_cells(grid, 6)


@pytest.mark.parametrize(("grid", "count"), [((2, 3), 5), ((2, 3), 8), ((2, 2, 3), 13)])
def test_counts_that_cannot_fit(grid, count):
    with pytest.raises(ValueError, match=f"got {count}"):
        token_cells(grid, count)


@pytest.mark.parametrize(("rows", "columns"), [(24, 24), (5, 9), (1, 13)])
def test_an_image_keeps_its_order(rows, columns):
    assert even_rank((rows, columns), rows * columns) == spread_rank(rows, columns)


@pytest.mark.parametrize("grid", [(4, 6, 7), (8, 3, 3), (1, 4, 4)])
@pytest.mark.parametrize("has_cls", [False, True])
def test_every_frame_of_a_video_gets_its_share(grid, has_cls):
    frames, rows, columns = grid
    total = frames * rows * columns
    rank = even_rank(grid, total + frames * has_cls)
    assert sorted(rank) == list(range(len(rank)))
    cells = token_cells(grid, len(rank))
    order = sorted(range(len(rank)), key=rank.__getitem__)
    for count in range(1, total + 1):
        shares = Counter(cells[token][0] for token in order[:count])
        assert max(shares.values()) - min(shares[f] for f in range(frames)) <= 1
    if has_cls:
        assert all(cells[token] is None for token in order[total:])


def test_a_frame_is_filled_like_an_image():
    rank, image = even_rank((3, 4, 5), 60), spread_rank(4, 5)
    for frame in range(3):
        part = rank[frame * 20 : frame * 20 + 20]
        assert sorted(range(20), key=part.__getitem__) == sorted(range(20), key=image.__getitem__)
