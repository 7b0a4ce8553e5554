"""Drawn clips of the miniature Video-LLaVA: two or three shapes, each doing one thing.

A clip has 8 frames of 64 x 64 pixels, cut into 16 x 16 patches of 4 x 4 pixels: 2048 patches, as
many as Video-LLaVA has. Everything in it follows from one integer seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from sparsevlm.miniature.scenes import (
    CARD_COLORS,
    HEIGHTS,
    PATCH,
    SHAPE_COLORS,
    SHAPE_PIXELS,
    SHAPES,
    SIDES,
    shape_mask,
)
from sparsevlm.miniature.video_llava.vocabulary import NUM_FRAMES

GRID = 16
SIZE = GRID * PATCH
THIRD = SIZE / 3
# Moving and onsets, which need more than one frame to be seen, come more often than resting.
_SHARES = (
    *("left", "right", "up", "down") * 2,
    *("stays",) * 2,
    *("appears", "disappears", "changes", "turns") * 2,
    *("flashes",) * 3,
)
MOVES = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
ONSETS = ("appears", "disappears", "changes", "turns")
RGB = {**SHAPE_COLORS, "white": CARD_COLORS["white"]}


@dataclass(frozen=True)
class Actor:
    """One shape of a clip and what it does.

    Attributes
    ----------
    action : str
        One of `vocabulary.ACTIONS`.
    kinds, colors : tuple of str
        What it is at first, and after it turned or changed (one entry if it never does). No word
        belongs to two actors of a clip, so any of them names this one.
    when : int
        First frame (from 0) at which an onset is done; 0 for actions without one.
    flashes : int
        How many times it is white for one frame.
    states : tuple
        Per frame (kind, color, top, left) or None where it is not to be seen.
    """

    action: str
    kinds: tuple[str, ...]
    colors: tuple[str, ...]
    when: int
    flashes: int
    states: tuple[tuple[str, str, int, int] | None, ...]

    def center(self, frame: int) -> tuple[float, float] | None:
        """(y, x) in pixels, or None where it is not to be seen."""
        state = self.states[frame]
        return state and (state[2] + SHAPE_PIXELS / 2, state[3] + SHAPE_PIXELS / 2)

    def side(self, frame: int) -> str | None:
        """Left, middle or right; None if it is not to be seen or too near to a border to say."""
        return _third(self.center(frame), 1, SIDES)

    def height(self, frame: int) -> str | None:
        """Top, center or bottom; None as for `side`."""
        return _third(self.center(frame), 0, HEIGHTS)

    @property
    def rests(self) -> bool:
        return self.action not in MOVES


@dataclass(frozen=True)
class Clip:
    """Frames, actors, and which actor each patch of each frame shows (-1: background)."""

    seed: int
    pixels: np.ndarray
    actors: tuple[Actor, ...]
    owners: np.ndarray

    @property
    def frames(self) -> list[Image.Image]:
        return [Image.fromarray(frame) for frame in self.pixels]


def _third(center, axis: int, words: tuple[str, ...]) -> str | None:
    if center is None or min(abs(center[axis] - THIRD), abs(center[axis] - 2 * THIRD)) < 2:
        return None
    return words[min(int(center[axis] // THIRD), 2)]


def _path(rng: np.random.Generator, action: str) -> np.ndarray:
    """(top, left) of every frame, int [frames, 2]; a move covers 28 to 42 pixels."""
    free = SIZE - SHAPE_PIXELS
    start = rng.integers(0, free + 1, 2)
    if action not in MOVES:
        return np.tile(start, (NUM_FRAMES, 1))
    axis = 0 if action in ("up", "down") else 1
    length = int(rng.integers(28, 43))
    low = int(rng.integers(0, free - length + 1))
    way = np.round(np.linspace(low, low + length, NUM_FRAMES)).astype(int)
    path = np.tile(start, (NUM_FRAMES, 1))
    path[:, axis] = way if action in ("right", "down") else way[::-1]
    return path


def _far_apart(path: np.ndarray, others: list[np.ndarray]) -> bool:
    """Whether the boxes never come nearer than one pixel, in no frame."""
    gap = SHAPE_PIXELS + 1
    return all((np.abs(path - other) >= gap).any(axis=1).all() for other in others)


def _flash_frames(rng: np.random.Generator, times: int) -> set[int]:
    """Frames of the flashes, never two in a row and never the first or the last."""
    while True:
        chosen = np.sort(rng.permutation(np.arange(1, NUM_FRAMES - 1))[:times])
        if (np.diff(chosen) > 1).all():
            return set(chosen.tolist())


def _actor(rng, action: str, path: np.ndarray, kinds: list[str], colors: list[str]) -> Actor:
    """An actor on a path; takes the words that it needs from the ends of ``kinds``, ``colors``."""
    own_kinds = [kinds.pop() for _ in range(2 if action == "turns" else 1)]
    own_colors = [colors.pop() for _ in range(2 if action == "changes" else 1)]
    when = int(rng.integers(2, NUM_FRAMES - 1)) if action in ONSETS else 0
    times = int(rng.integers(1, 4)) if action == "flashes" else 0
    white = _flash_frames(rng, times)
    states = []
    for frame, (top, left) in enumerate(path.tolist()):
        done = frame >= when
        gone = (action == "appears" and not done) or (action == "disappears" and done)
        color = "white" if frame in white else own_colors[-1 if done else 0]
        states.append(None if gone else (own_kinds[-1 if done else 0], color, top, left))
    return Actor(action, tuple(own_kinds), tuple(own_colors), when, times, tuple(states))


def make_actors(rng: np.random.Generator) -> tuple[Actor, ...]:
    """The two or three actors of a clip, without drawing it."""
    wanted = 3 if rng.random() < 0.75 else 2
    kinds, colors = rng.permutation(SHAPES).tolist(), rng.permutation(list(SHAPE_COLORS)).tolist()
    actors: list[Actor] = []
    paths: list[np.ndarray] = []
    while len(actors) < wanted:
        action = _SHARES[int(rng.integers(len(_SHARES)))]
        for _ in range(12):
            path = _path(rng, action)
            if _far_apart(path, paths):
                paths.append(path)
                actors.append(_actor(rng, action, path, kinds, colors))
                break
    return tuple(actors)


def clip_actors(seed: int) -> tuple[Actor, ...]:
    """The actors of `make_clip` of the same seed, ten times faster than drawing it."""
    return make_actors(np.random.default_rng((seed, NUM_FRAMES)))


def _background(rng: np.random.Generator) -> np.ndarray:
    """A gradient between muted colors with colored strokes, float32 [64, 64, 3]."""
    corners = rng.uniform(70, 180, (2, 2, 1)) + rng.uniform(-28, 28, (2, 2, 3))
    t = np.linspace(0, 1, SIZE)
    image = np.einsum("ya,xb,abc->yxc", np.stack([1 - t, t], 1), np.stack([1 - t, t], 1), corners)
    for _ in range(int(rng.integers(8, 16))):
        start, angle = rng.uniform(0, SIZE, 2), rng.uniform(0, 2 * np.pi)
        steps = np.arange(0, rng.uniform(5, 16), 0.7)[:, None]
        points = (start + steps * np.array([np.sin(angle), np.cos(angle)])).astype(int)
        points = points[((points >= 0) & (points < SIZE)).all(axis=1)]
        image[points[:, 0], points[:, 1]] = rng.uniform(20, 235, 3)
    return image.astype(np.float32)


def _cover(top: int, left: int) -> np.ndarray:
    """Pixels of each patch inside the box of an actor, int [16, 16]."""
    edges = np.arange(GRID) * PATCH
    tall, wide = (
        np.clip(np.minimum(start + SHAPE_PIXELS, edges + PATCH) - np.maximum(start, edges), 0, None)
        for start in (top, left)
    )
    return tall[:, None] * wide


def _paint(pixels: np.ndarray, owners: np.ndarray, actors: tuple[Actor, ...], rng) -> None:
    """Draw the actors; a patch belongs to the actor with most of its pixels, at least 3 of 16."""
    best = np.full(owners.shape, 2)
    for index, actor in enumerate(actors):
        tint = rng.uniform(-14, 14, 3).astype(np.float32)
        for frame, state in enumerate(actor.states):
            if state is None:
                continue
            kind, color, top, left = state
            region = pixels[frame, top : top + SHAPE_PIXELS, left : left + SHAPE_PIXELS]
            region += shape_mask(kind)[..., None] * (np.float32(RGB[color]) + tint - region)
            cover = _cover(top, left)
            mine = cover > best[frame]
            owners[frame][mine], best[frame][mine] = index, cover[mine]


def make_clip(seed: int) -> Clip:
    """Draw the clip of a seed.

    The noise of the background is new in every frame; the strokes and the gradient stay.

    Parameters
    ----------
    seed : int
        Any non-negative integer; the same seed gives the same pixels on every machine.
    """
    rng = np.random.default_rng((seed, NUM_FRAMES))
    actors = make_actors(rng)
    shape = (NUM_FRAMES, SIZE, SIZE, 3)
    pixels = _background(rng) + 7 * rng.standard_normal(shape, np.float32)
    owners = np.full((NUM_FRAMES, GRID, GRID), -1)
    _paint(pixels, owners, actors, rng)
    return Clip(seed, np.clip(pixels, 0, 255).astype(np.uint8), actors, owners)
