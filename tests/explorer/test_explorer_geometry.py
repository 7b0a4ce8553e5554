"""Where tokens lie in the original picture: padding and cropping undone, frames side by side."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from sparsevlm.analysis.sample_images import FOLDER, sample_images
from sparsevlm.explorer.geometry import GAP, Geometry, montage
from sparsevlm.explorer.images import ImageInput
from sparsevlm.miniature.scenes import make_scene
from sparsevlm.miniature.video_llava.clips import make_clip


def test_a_stretched_grid_covers_the_image():
    boxes = Geometry.of("stretch", (60, 40), (4, 6), 24).rectangles()
    assert boxes[0] == (0, (0, 0, 10, 10)) and boxes[23] == (0, (50, 30, 60, 40))
    assert Geometry.of("stretch", (60, 40), (4, 6), 24).padding() == frozenset()


def test_square_padding_is_undone():
    place = Geometry.of("pad", (240, 120), (24, 24), 576)
    assert place.box == (0, -60, 240, 180)
    rows = {token // 24 for token in place.padding()}
    assert rows == {*range(6), *range(18, 24)} and len(place.padding()) == 12 * 24
    assert place.rectangles()[6 * 24] == (0, (0, 0, 10, 10))


def test_padding_lies_where_llava_puts_the_image():
    from sparsevlm.models.prompts.clip import MEAN_COLOR, pad_to_square

    image = Image.new("RGB", (101, 240), "white")
    square = np.asarray(pad_to_square(image))
    place = Geometry.of("pad", image.size, (24, 24), 576)
    for token, (_, box) in enumerate(place.rectangles()):
        # Back to the coordinates of the square.
        left, top = round(box[0] - place.box[0]), round(box[1] - place.box[1])
        cell = square[top : top + 10, left : left + 10].reshape(-1, 3)
        assert (token in place.padding()) == bool((cell == MEAN_COLOR).all())


def test_a_cropped_grid_lies_inside():
    assert Geometry.of("crop", (100, 60), (6, 6), 36).box == (20, 0, 80, 60)
    assert Geometry.of("crop", (60, 100), (6, 6), 36).padding() == frozenset()


def test_frames_with_class_tokens():
    place = Geometry.of("crop", (60, 60), (2, 3, 3), 20)
    boxes = place.rectangles()
    assert boxes[0] is None and boxes[10] is None and boxes[11] == (1, (0, 0, 20, 20))
    assert place.place(11) == "frame 1, row 0, column 0" and "CLS" in place.place(10)


@pytest.mark.parametrize(
    ("change", "match"),
    [({"num_visual": 26}, "26"), ({"box": (0, 0, 0, 40)}, "empty"), ({"grid": (0, 6)}, "least")],
)
def test_a_geometry_that_cannot_be(change, match):
    good = {"grid": (4, 6), "size": (60, 40), "box": (0, 0, 60, 40), "num_visual": 24}
    with pytest.raises(ValueError, match=match):
        Geometry(**{**good, **change})


def image_of(width, height, frames=1):
    made = [Image.new("RGB", (width, height), (40 * i, 90, 90)) for i in range(frames)]
    return ImageInput("test", tuple(made))


def test_the_montage_of_a_padded_image():
    place = Geometry.of("pad", (240, 120), (24, 24), 576)
    whole = montage(image_of(240, 120), place)
    assert whole.image.size == (240, 120)
    assert whole.rectangles[0] is None and whole.rectangles[6 * 24] == (0, 0, 10, 10)
    with_padding = montage(image_of(240, 120), place, show_padding=True)
    assert with_padding.image.size == (240, 240)
    assert with_padding.rectangles[0] == (0, 0, 10, 10)
    assert with_padding.image.getpixel((120, 120)) == (0, 90, 90)
    assert min(with_padding.image.getpixel((120, 30))) >= 200


def test_a_patch_half_outside_is_cut_off():
    found = montage(image_of(100, 50), Geometry.of("pad", (100, 50), (2, 2), 4)).rectangles
    assert found == ((0, 0, 50, 25), (50, 0, 50, 25), (0, 25, 50, 25), (50, 25, 50, 25))


def test_frames_lie_side_by_side():
    shown = montage(image_of(60, 60, 3), Geometry.of("crop", (60, 60), (3, 2, 2), 12))
    step = round(60 * (1 + GAP), 2)
    assert [found[:2] for found in shown.rectangles[::4]] == [(0, 0), (step, 0), (0, step)]
    assert shown.image.getpixel((round(step) + 5, 5)) == (40, 90, 90)


def test_two_frames_in_one_step_show_the_first():
    shown = montage(image_of(60, 60, 4), Geometry.of("stretch", (60, 60), (2, 2, 2), 8))
    assert shown.image.getpixel((round(60 * (1 + GAP)) + 5, 5)) == (80, 90, 90)


def test_a_large_image_is_scaled_with_its_rectangles():
    shown = montage(image_of(2800, 1400), Geometry.of("stretch", (2800, 1400), (2, 4), 8))
    assert shown.image.size == (1400, 700) and shown.rectangles[1] == (350, 0, 350, 350)


@pytest.mark.parametrize("name", sample_images())
def test_samples_open_and_are_listed_with_their_licence(name):
    sample = sample_images()[name]
    opened = ImageInput.open(name)
    assert opened.name == name and opened.sample is sample and sample.questions
    assert len(opened.frames) == (8 if sample.kind == "clip" else 1)
    assert sample.licence in ("CC0", "public domain", "Apache-2.0")
    row = f"| `{sample.file}` | {sample.title} | {sample.kind} | {sample.source} | {sample.licence}"
    assert row in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_samples_are_all_and_small():
    files = {sample.file for sample in sample_images().values()}
    there = {path.name for path in FOLDER.iterdir()} - {"README.md", "samples.json"}
    assert files == there
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.*")) < 1_500_000
    names = [row["name"] for row in json.loads((FOLDER / "samples.json").read_text())]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("seed", [3, 5, 6])
def test_the_sample_scenes_are_those_of_their_seeds(seed):
    (image,) = ImageInput.open(f"scene_{seed}").frames
    assert (np.asarray(image) == make_scene(seed).pixels).all()


def test_the_sample_clip_is_that_of_its_seed():
    found = ImageInput.open("clip_2").frames
    for frame, drawn in zip(found, make_clip(2).frames, strict=True):
        assert np.array_equal(frame, drawn)


def test_images_that_cannot_be_opened(tmp_path):
    with pytest.raises(FileNotFoundError, match="scene_6"):
        ImageInput.open("nowhere")
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(ValueError, match="not an image"):
        ImageInput.open(tmp_path / "x.png")
    with pytest.raises(ValueError, match="one size"):
        ImageInput.open([Image.new("RGB", (4, 4)), Image.new("RGB", (5, 4))])
    with pytest.raises(ValueError, match="one frame"):
        ImageInput.open([])
