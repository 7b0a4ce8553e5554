"""Scenes at twice the resolution, with small cards that only the high resolution resolves.

The 192 x 192 image is the 96 x 96 scene of the same seed, every pixel twice as large, and on it
one or two small cards whose letter has the size of the others' in these finer pixels. So whatever
`scenes` draws is in both images, and the letter of a small card, 2.5 x 3.5 of the coarse pixels,
is legible in the fine one only.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sparsevlm.miniature.glyphs import GLYPHS, glyph_mask
from sparsevlm.miniature.scenes import (
    CARD_COLORS,
    GRID,
    PATCH,
    Scene,
    SceneObject,
    ink_on,
    make_scene,
)

SCALE = 2
FINE = SCALE * PATCH  # fine pixels on a side of a patch
SMALL_CARD = (11, 9)  # fine pixels, height and width
CELL = 4  # fine pixels; small cards lie on the grid of the high-resolution tower's cells
_OWNED = FINE * FINE * 3 // 16  # the share of a patch that `scenes` asks of an owner
_TRIES = 200


def make_image(seed: int, grid: int = GRID, many_cards: int = 0) -> Scene:
    """Draw the scene of a seed at twice the resolution, small cards included.

    A small card is a card in one of the colors that no other card of the scene has, so that every
    card can still be named by its color; there is one for every such color if there is room.

    Parameters
    ----------
    seed, grid : int
        As for `make_scene`: 24 gives 192 x 192 pixels, 12 a training window of 96 x 96.
    many_cards : int
        Draw so many small cards in any colors instead, to train the letters faster; such an
        image cannot be asked about.

    Returns
    -------
    Scene
        The objects of `make_scene`, then the small cards; their boxes and those of `make_scene` in
        coarse pixels (a small card's box is rounded outwards), the pixels fine,
        uint8 [192, 192, 3].
    """
    scene = make_scene(seed, grid)
    rng = np.random.default_rng((seed, grid, SCALE))
    fine = scene.pixels.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    owners = scene.patch_objects.copy()
    objects = list(scene.objects)
    taken = [tuple(SCALE * v for v in o.box) for o in objects]
    for color in _colors(rng, scene, many_cards):
        box = _free_box(rng, taken, fine.shape[0], owners)
        if box is None:
            continue
        letter = str(rng.choice(GLYPHS))
        _draw(rng, fine, box, color, letter)
        owners[_owned(box, owners)] = len(objects)
        objects.append(_card(scene, box, color, letter))
        taken.append(box)
    return replace(scene, pixels=fine, objects=tuple(objects), patch_objects=owners)


def small_cards(scene: Scene) -> tuple[SceneObject, ...]:
    """The small ones among the cards of a scene."""
    return tuple(o for o in scene.cards if o.box[2] < min(SMALL_CARD))


def _colors(rng, scene: Scene, many_cards: int) -> list[str]:
    if many_cards:
        return rng.choice(list(CARD_COLORS), many_cards).tolist()
    return rng.permutation([c for c in CARD_COLORS if c not in {o.color for o in scene.cards}])


def _free_box(rng, taken: list[tuple], size: int, owners: np.ndarray) -> tuple | None:
    """A place (top, left, height, width) two fine pixels from every object, or None."""
    height, width = SMALL_CARD
    for _ in range(_TRIES):
        y, x = (CELL * int(rng.integers(0, (size - v) // CELL + 1)) for v in SMALL_CARD)
        apart = all(
            y + height + 2 <= top or top + tall + 2 <= y or x + width + 2 <= left
            or left + wide + 2 <= x
            for top, left, tall, wide in taken
        )  # fmt: skip
        box = (y, x, height, width)
        if apart and _owned(box, owners).sum() >= 2:
            return box
    return None


def _owned(box: tuple, owners: np.ndarray) -> np.ndarray:
    """Patches, bool [grid, grid], that a box covers enough to own and that show nothing else."""
    y, x, height, width = box
    edges = FINE * np.arange(owners.shape[0])
    tall = np.minimum(edges + FINE, y + height) - np.maximum(edges, y)
    wide = np.minimum(edges + FINE, x + width) - np.maximum(edges, x)
    return (np.outer(tall.clip(0), wide.clip(0)) >= _OWNED) & (owners < 0)


def _draw(rng, fine: np.ndarray, box: tuple, color: str, letter: str) -> None:
    y, x, height, width = box
    paper = np.array(CARD_COLORS[color]) + rng.uniform(-6, 6, 3)
    ink = np.array(ink_on(color))
    card = np.broadcast_to(paper, (height, width, 3)).copy()
    mask = glyph_mask(letter)
    card[2 : 2 + mask.shape[0], 2 : 2 + mask.shape[1]] += mask[..., None] * (ink - paper)
    fine[y : y + height, x : x + width] = card.clip(0, 255)


def _card(scene: Scene, box: tuple, color: str, letter: str) -> SceneObject:
    """The object that a box of fine pixels shows."""
    y, x, height, width = box
    top, left = y // SCALE, x // SCALE
    coarse = (top, left, -(-(y + height) // SCALE) - top, -(-(x + width) // SCALE) - left)
    center = (
        (y + height / 2) / SCALE + scene.origin[0] * PATCH,
        (x + width / 2) / SCALE + scene.origin[1] * PATCH,
    )
    return SceneObject("card", color, letter, coarse, center)
