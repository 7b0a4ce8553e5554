"""The procedural scenes: deterministic, and what they claim to show is what they show."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from sparsevlm.miniature.glyphs import GLYPHS, glyph_mask
from sparsevlm.miniature.scenes import CARD_COLORS, SHAPE_COLORS, SHAPES, make_scene, shape_mask


def test_a_seed_always_draws_the_same_pixels():
    # Frozen: benchmark scenes must never change silently, for results name them by seed only.
    digest = hashlib.sha256(b"".join(make_scene(s).pixels.tobytes() for s in (0, 7, 10**9)))
    assert digest.hexdigest()[:16] == "1f08f95dbb4d261d"


def test_different_seeds_draw_different_scenes():
    assert not np.array_equal(make_scene(1).pixels, make_scene(2).pixels)


def test_a_scene_has_576_patches_and_a_window_144():
    assert make_scene(3).patch_objects.shape == (24, 24)
    assert make_scene(3).image.size == (96, 96)
    assert make_scene(3, 12).patch_objects.shape == (12, 12)


@pytest.mark.parametrize("seed", range(20))
def test_objects_do_not_overlap_and_lie_inside(seed):
    scene = make_scene(seed)
    cover = np.zeros((96, 96), int)
    for obj in scene.objects:
        y, x, height, width = obj.box
        assert 0 <= y and y + height <= 96 and 0 <= x and x + width <= 96
        cover[y : y + height, x : x + width] += 1
    assert cover.max() == 1


@pytest.mark.parametrize("seed", range(20))
def test_no_two_objects_share_a_description(seed):
    scene = make_scene(seed)
    pairs = [(o.kind, o.color) for o in scene.objects]
    assert len(set(pairs)) == len(pairs)
    assert {o.kind for o in scene.shapes} <= set(SHAPES)
    assert {o.color for o in scene.cards} <= set(CARD_COLORS)


def test_the_color_of_an_object_is_on_its_patches():
    for seed in range(10):
        scene = make_scene(seed)
        for obj in scene.shapes:
            y, x, height, width = obj.box
            region = scene.pixels[y : y + height, x : x + width].reshape(-1, 3).astype(float)
            distance = np.abs(region - np.array(SHAPE_COLORS[obj.color])).max(axis=1)
            assert (distance < 25).sum() > 15, (seed, obj)
            assert 4 <= len(scene.patches_of(obj)) <= 16


def test_every_shape_and_letter_looks_different():
    shapes = [shape_mask(s).tobytes() for s in SHAPES]
    letters = [glyph_mask(g).tobytes() for g in GLYPHS]
    assert len(set(shapes)) == len(SHAPES)
    assert len(set(letters)) == len(GLYPHS)


def test_a_window_knows_where_it_lies_in_the_full_picture():
    scene = make_scene(11, 12)
    for obj in scene.objects:
        assert obj.center[0] == obj.box[0] + obj.box[2] / 2 + 4 * scene.origin[0]
        assert obj.center[1] == obj.box[1] + obj.box[3] / 2 + 4 * scene.origin[1]
