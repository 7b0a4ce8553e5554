"""Drawn images of any size and shape for the miniature Qwen2-VL.

The objects are those of `scenes`, of the same size in pixels, so a larger image holds more of
them. Names stay unique: in every image some kinds and some colors belong to one shape alone,
and questions ask for these; the others repeat and only fill the image.
"""

from __future__ import annotations

import numpy as np

from sparsevlm.miniature.glyphs import GLYPHS
from sparsevlm.miniature.scenes import (
    CARD_COLORS,
    PATCH,
    SHAPE_COLORS,
    SHAPES,
    Scene,
    SceneObject,
    draw_background,
    draw_objects,
    patch_objects,
)

NOMINAL = 36  # patches per side of the square image that has as many as the benchmark's, 1296
_ROOM = 13  # pixels from one object's corner to the next


class Thing(SceneObject):
    """An object without a place in thirds: nothing here asks for sides of such images."""

    placed_clearly = False


def image_size(rng: np.random.Generator, grid: int) -> tuple[int, int]:
    """Rows and columns, about ``grid^2`` patches in all, up to 2 : 1 wide or high.

    For the benchmark (36): about 1230 to 1410 patches, 1320 on average, and 27 to 48 rows.
    """
    rows = int(rng.integers(round(grid * 0.75), round(grid * 4 / 3) + 1))
    area = grid * grid * rng.uniform(0.957, 1.08)
    return rows, max(1, round(area / rows))


def describe(rng: np.random.Generator, num_shapes: int, num_cards: int) -> list[tuple]:
    """Distinct (kind, color, glyph) triples, some of whose kinds and colors come once.

    One kind and one color are in no shape, so that there is always something to deny.
    """
    kinds, colors = rng.permutation(SHAPES).tolist(), rng.permutation(list(SHAPE_COLORS)).tolist()
    named = min(3, (num_shapes + 1) // 2)
    common_kinds, common_colors = kinds[named:-1], colors[named:-1]
    shapes = []
    for kind, color in zip(kinds[:named], colors[:named], strict=True):
        shapes += [(kind, str(rng.choice(common_colors)), "")]
        shapes += [(str(rng.choice(common_kinds)), color, "")]
    fillers = [(kind, color, "") for kind in common_kinds for color in common_colors]
    shapes += [fillers[i] for i in rng.permutation(len(fillers))]
    cards = [
        ("card", color, str(rng.choice(GLYPHS)))
        for color in rng.permutation(list(CARD_COLORS)).tolist()
    ]
    chosen = shapes[:num_shapes] + cards[:num_cards]
    return [chosen[i] for i in rng.permutation(len(chosen))]


def _corners(rng, height: int, width: int, count: int) -> list[tuple[int, int]]:
    """Top-left corners of objects of 12 x 12 pixels that do not touch; fewer if crowded out."""
    corners: list[tuple[int, int]] = []
    for _ in range(count * 20):
        if len(corners) == count:
            break
        y, x = int(rng.integers(0, height - 11)), int(rng.integers(0, width - 11))
        if all(abs(y - b) >= _ROOM or abs(x - a) >= _ROOM for b, a in corners):
            corners.append((y, x))
    return corners


def make_image(seed: int, grid: int = NOMINAL) -> Scene:
    """Draw the image of a seed.

    Parameters
    ----------
    seed : int
        Any non-negative integer; the same seed gives the same pixels on every machine.
    grid : int
        About ``grid^2`` patches of 4 x 4 pixels (see `image_size`). 36 is the benchmark.

    Returns
    -------
    Scene
        ``pixels`` [4 rows, 4 columns, 3] uint8 and ``patch_objects`` [rows, columns]. An object's
        place is not known to `Facts` (`Thing`).
    """
    rng = np.random.default_rng((seed, grid, 4))
    rows, columns = image_size(rng, grid)
    height, width = rows * PATCH, columns * PATCH
    patches = rows * columns
    num_shapes = int(rng.integers(2 + patches // 140, 4 + patches // 105))
    wanted = describe(rng, num_shapes, int(rng.integers(2, 5)))
    image = draw_background(rng, max(height, width))[:height, :width]
    places = _corners(rng, height, width, len(wanted))
    things = tuple(Thing(**vars(o)) for o in draw_objects(rng, image, places, wanted))
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    return Scene(seed, pixels, things, patch_objects(things, max(rows, columns))[:rows, :columns])
