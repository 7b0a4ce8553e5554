"""Any picture a user may have becomes upright 8-bit RGB, or a sentence that helps."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sparsevlm.models.images import load_image


def _gradient(mode: str) -> Image.Image:
    ramp = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
    return Image.fromarray(np.stack([ramp, ramp[::-1], ramp.T], -1)).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "1"])
def test_ordinary_modes_become_rgb(mode, tmp_path):
    path = tmp_path / "x.tif"
    _gradient(mode).save(path)
    image = load_image(path)
    assert image.mode == "RGB" and image.size == (8, 8)
    reference = np.asarray(_gradient(mode).convert("RGB"), int)
    assert np.abs(np.asarray(image, int) - reference).max() <= 1


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "x.png")
    pixels = np.asarray(load_image(tmp_path / "x.png"))
    assert pixels.min() == 0 and pixels.max() == 255
    assert len(np.unique(pixels)) > 50


def test_transparency_is_laid_on_white(tmp_path):
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0, 255))
    image.save(tmp_path / "x.png")
    loaded = load_image(tmp_path / "x.png")
    assert loaded.getpixel((0, 0)) == (255, 0, 0)
    assert loaded.getpixel((1, 1)) == (255, 255, 255)


def test_exif_rotation_is_applied(tmp_path):
    image = Image.new("RGB", (6, 3), "black")
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    image.save(tmp_path / "x.jpg", exif=exif)
    assert load_image(tmp_path / "x.jpg").size == (3, 6)


def test_a_truncated_file_is_a_clear_error(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match="damaged or truncated"):
        load_image(path)


def test_no_image_and_no_file_are_clear_errors(tmp_path):
    (tmp_path / "x.png").write_text("not a picture")
    with pytest.raises(ValueError, match="not an image"):
        load_image(tmp_path / "x.png")
    with pytest.raises(FileNotFoundError, match="no image at"):
        load_image(tmp_path / "nothing.png")
