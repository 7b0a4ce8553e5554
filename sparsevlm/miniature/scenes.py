"""Procedural scenes of the miniature benchmark: shapes and lettered cards on clutter.

A scene is a 96 x 96 image cut into 24 x 24 patches of 4 x 4 pixels, so the miniature sees
576 visual tokens, as LLaVA-1.5 does. Everything in it follows from one integer seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from sparsevlm.miniature.glyphs import GLYPHS, glyph_mask

PATCH = 4
GRID = 24

SHAPE_COLORS = {
    "red": (214, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 220),
    "yellow": (240, 214, 40),
    "orange": (245, 130, 20),
    "purple": (130, 50, 180),
    "cyan": (50, 205, 220),
    "pink": (250, 130, 190),
}
CARD_COLORS = {
    "white": (248, 248, 248),
    "black": (16, 16, 16),
    "brown": (112, 66, 30),
    "olive": (128, 134, 32),
}
SHAPES = ("circle", "square", "triangle", "diamond", "ring", "frame", "cross", "hourglass")
CORNERS = {
    "circle": "zero",
    "ring": "zero",
    "triangle": "three",
    "square": "four",
    "diamond": "four",
    "frame": "four",
    "cross": "many",
    "hourglass": "many",
}
SIDES = ("left", "middle", "right")
HEIGHTS = ("top", "center", "bottom")

SHAPE_PIXELS = 11
CARD_PIXELS = (12, 10)
_SUPERSAMPLE = 6


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene.

    ``kind`` is a shape name or ``"card"``; ``glyph`` is the letter on a card, else "".
    ``box`` is (top, left, height, width) in pixels of this image; ``center`` is (y, x) in
    pixels of the full 96 x 96 image, also when the scene is a training window.
    """

    kind: str
    color: str
    glyph: str
    box: tuple[int, int, int, int]
    center: tuple[float, float]

    @property
    def is_card(self) -> bool:
        return self.kind == "card"

    @property
    def side(self) -> str:
        return SIDES[min(int(self.center[1] // 32), 2)]

    @property
    def height(self) -> str:
        return HEIGHTS[min(int(self.center[0] // 32), 2)]

    @property
    def placed_clearly(self) -> bool:
        """False within 2.5 pixels of a border between thirds, where the answer is arguable."""
        return all(min(abs(c - 32), abs(c - 64)) >= 2.5 for c in self.center)

    def __str__(self) -> str:
        return f"{self.color} {self.kind}"


@dataclass(frozen=True)
class Scene:
    """An image, its objects, and which object each patch shows (-1: background)."""

    seed: int
    pixels: np.ndarray
    objects: tuple[SceneObject, ...]
    patch_objects: np.ndarray
    origin: tuple[int, int] = (0, 0)

    @property
    def image(self) -> Image.Image:
        return Image.fromarray(self.pixels)

    @property
    def shapes(self) -> tuple[SceneObject, ...]:
        return tuple(o for o in self.objects if not o.is_card)

    @property
    def cards(self) -> tuple[SceneObject, ...]:
        return tuple(o for o in self.objects if o.is_card)

    def patches_of(self, obj: SceneObject) -> np.ndarray:
        """Raster indices of the patches that show ``obj``."""
        return np.flatnonzero(self.patch_objects.reshape(-1) == self.objects.index(obj))


@cache
def shape_mask(kind: str) -> np.ndarray:
    """Anti-aliased coverage in [0, 1] of a shape, [11, 11] float32."""
    n = SHAPE_PIXELS * _SUPERSAMPLE
    y, x = np.mgrid[0:n, 0:n]
    y, x = (y + 0.5) / n * 2 - 1, (x + 0.5) / n * 2 - 1
    radius, box = np.hypot(x, y), np.maximum(np.abs(x), np.abs(y))
    inside = {
        "circle": radius < 0.98,
        "square": box < 0.9,
        "triangle": (y > -0.95) & (y < 0.9) & (np.abs(x) < (y + 0.95) / 1.85),
        "diamond": np.abs(x) + np.abs(y) < 1.0,
        "ring": (radius < 0.98) & (radius > 0.5),
        "frame": (box < 0.92) & (box > 0.5),
        "cross": ((np.abs(x) < 0.32) | (np.abs(y) < 0.32)) & (box < 0.98),
        "hourglass": (np.abs(x) < np.abs(y) * 0.95 + 0.08) & (box < 0.94),
    }[kind].astype(np.float32)
    small = inside.reshape(SHAPE_PIXELS, _SUPERSAMPLE, SHAPE_PIXELS, _SUPERSAMPLE)
    return small.mean(axis=(1, 3))


def draw_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A gradient between two muted colors, colored strokes and noise, [size, size, 3]."""
    corners = rng.uniform(70, 180, size=(2, 2, 1)) + rng.uniform(-28, 28, size=(2, 2, 3))
    t = np.linspace(0, 1, size)[:, None, None]
    top, bottom = (corners[i, 0] + (corners[i, 1] - corners[i, 0]) * t[:, 0][None] for i in (0, 1))
    image = top * (1 - t) + bottom * t
    for _ in range(int(rng.integers(size // 8, size // 4))):
        start, angle = rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi)
        steps = np.arange(0, rng.uniform(5, 16), 0.7)[:, None]
        points = (start + steps * np.array([np.sin(angle), np.cos(angle)])).astype(int)
        points = points[((points >= 0) & (points < size)).all(axis=1)]
        image[points[:, 0], points[:, 1]] = rng.uniform(20, 235, 3)
    return image + rng.normal(0, 7, image.shape)


def _place(rng, size, count, gap=1):
    """Non-overlapping top-left corners for objects of 12 x 12 pixels; fewer if crowded out."""
    corners: list[tuple[int, int]] = []
    for _ in range(count * 20):
        if len(corners) == count:
            break
        y, x = (int(v) for v in rng.integers(0, size - 12 + 1, 2))
        if all(abs(y - b) >= 12 + gap or abs(x - a) >= 12 + gap for b, a in corners):
            corners.append((y, x))
    return corners


def _paint(image, mask, y, x, color):
    height, width = mask.shape
    region = image[y : y + height, x : x + width]
    region += mask[..., None] * (color - region)


def _draw_shape(rng, image, y, x, kind, color):
    tint = np.array(SHAPE_COLORS[color]) + rng.uniform(-14, 14, 3)
    _paint(image, shape_mask(kind), y, x, tint)
    return (y, x, SHAPE_PIXELS, SHAPE_PIXELS)


def ink_on(color: str) -> tuple[int, int, int]:
    """The color of the letter on a card: dark on light paper, light on dark."""
    return (15, 15, 15) if color in ("white", "olive") else (245, 245, 245)


def _draw_card(rng, image, y, x, color, glyph):
    paper = np.array(CARD_COLORS[color]) + rng.uniform(-6, 6, 3)
    ink = np.array(ink_on(color))
    _paint(image, np.ones(CARD_PIXELS, np.float32), y, x, paper)
    _paint(image, glyph_mask(glyph), y + 2, x + 2, ink)
    return (y, x, *CARD_PIXELS)


def _descriptions(rng, num_shapes, num_cards):
    """Distinct (kind, color, glyph) triples; a shape or a color comes at most three times."""
    pairs: list[tuple[str, str, str]] = []
    palette = rng.permutation(list(SHAPE_COLORS))[: max(3, num_shapes)]
    while len(pairs) < num_shapes:
        pair = (str(rng.choice(SHAPES)), str(rng.choice(palette)), "")
        repeats = max(sum(p[i] == pair[i] for p in pairs) for i in (0, 1)) if pairs else 0
        if pair not in pairs and repeats < 3:
            pairs.append(pair)
    for color in rng.permutation(list(CARD_COLORS))[:num_cards]:
        pairs.append(("card", str(color), str(rng.choice(list(GLYPHS)))))
    return [pairs[i] for i in rng.permutation(len(pairs))]


def draw_objects(rng, image, places, wanted, origin=(0, 0)) -> tuple[SceneObject, ...]:
    """Draw (kind, color, glyph) triples at top-left corners into float pixels, in place.

    ``origin`` is the place of the image in the full grid, in patches.
    """
    objects = []
    for (y, x), (kind, color, glyph) in zip(places, wanted, strict=False):
        if kind == "card":
            box = _draw_card(rng, image, y, x, color, glyph)
        else:
            box = _draw_shape(rng, image, y, x, kind, color)
        center = (y + box[2] / 2 + origin[0] * PATCH, x + box[3] / 2 + origin[1] * PATCH)
        objects.append(SceneObject(kind, color, glyph, box, center))
    return tuple(objects)


def patch_objects(objects: Sequence[SceneObject], grid: int) -> np.ndarray:
    """Which object covers at least 3 of a patch's 16 pixels; the largest cover wins."""
    owner = np.full((grid, grid), -1)
    cover = np.full((grid, grid), 2)
    for index, (y, x, height, width) in enumerate(o.box for o in objects):
        for row in range(y // PATCH, (y + height - 1) // PATCH + 1):
            for column in range(x // PATCH, (x + width - 1) // PATCH + 1):
                tall = min(y + height, (row + 1) * PATCH) - max(y, row * PATCH)
                wide = min(x + width, (column + 1) * PATCH) - max(x, column * PATCH)
                if tall * wide > cover[row, column]:
                    owner[row, column], cover[row, column] = index, tall * wide
    return owner


def make_scene(seed: int, grid: int = GRID) -> Scene:
    """Draw the scene of a seed.

    Parameters
    ----------
    seed : int
        Any non-negative integer; the same seed gives the same pixels on every machine.
    grid : int
        Patches per side. 24 is the benchmark; 12 gives a training window, which is a quarter of
        a scene placed at a random origin of the 24 x 24 grid.
    """
    rng = np.random.default_rng((seed, grid))
    size = grid * PATCH
    origin = tuple(int(v) for v in rng.integers(0, GRID - grid + 1, 2))
    whole = grid == GRID
    num_shapes = int(rng.integers(5, 9) if whole else rng.integers(1, 4))
    num_cards = int(rng.integers(2, 4) if whole else rng.integers(0, 3))
    wanted = _descriptions(rng, num_shapes, num_cards)
    image = draw_background(rng, size)
    objects = draw_objects(rng, image, _place(rng, size, len(wanted)), wanted, origin)
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    return Scene(seed, pixels, objects, patch_objects(objects, grid), origin)
