"""Any picture becomes 8-bit RGB: as it looks right, or as the scripts read it; or an error."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_llava
from tiny_checkpoints import VICUNA, letters_tokenizer

from sparsevlm.benchmarks.loaders.frames import read_frames
from sparsevlm.models.images import ImageError, load_image
from sparsevlm.models.prompts import prompt_builder

RAMP = np.linspace(0, 1, 64).reshape(8, 8)
GREY = np.rint(255 * RAMP).astype(np.uint8)


def _gradient(mode: str) -> Image.Image:
    return Image.fromarray(np.stack([GREY, GREY[::-1], GREY.T], -1)).convert(mode)


@pytest.mark.parametrize("way", ["upright", "official"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "1"])
def test_ordinary_modes_become_rgb(mode, way, tmp_path):
    path = tmp_path / "x.tif"
    _gradient(mode).save(path)
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        image = load_image(source, way)
        assert image.mode == "RGB" and image.size == (8, 8)
        assert image.tobytes() == _gradient(mode).convert("RGB").tobytes()


# --- The two ways ------------------------------------------------------------------------------


def _rotated():
    image, exif = _gradient("RGB").crop((0, 0, 8, 3)), Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    return image, {"exif": exif}, image.transpose(Image.Transpose.ROTATE_270)


def _see_through(mode):
    """Red under nothing at all, and red as it is."""
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0, 255))
    white = Image.new("RGB", (2, 1), "white")
    white.paste("red", (0, 0, 1, 1))
    if mode == "LA":
        white = Image.new("RGB", (2, 1), "white")
        white.paste((76,) * 3, (0, 0, 1, 1))
    return image.convert(mode), {}, white


def _one_color_is_transparent(mode):
    image = Image.new(mode, (2, 1), 7)
    image.putpixel((0, 0), 0)
    white = image.convert("RGB")
    white.putpixel((1, 0), (255, 255, 255))
    return image, {"transparency": 7 if mode != "RGB" else (7, 0, 0)}, white


ODD = {
    "rotated.jpg": _rotated(),
    "rotated.png": _rotated(),
    "rgba.png": _see_through("RGBA"),
    "rgba.webp": (*_see_through("RGBA")[:1], {"lossless": True, "exact": True},
                  _see_through("RGBA")[2]),
    "la.png": _see_through("LA"),
    "grey.png": _one_color_is_transparent("L"),
    "rgb.png": _one_color_is_transparent("RGB"),
    "deep.png": (Image.fromarray(np.rint(65535 * RAMP).astype(np.uint16)), {},
                 Image.fromarray(GREY).convert("RGB")),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_a_benchmarks_picture_is_what_the_scripts_see_a_users_own_what_looks_right(name, tmp_path):
    image, options, looks_right = ODD[name]
    path = tmp_path / name
    image.save(path, **options)
    official = Image.open(path).convert("RGB")
    upright = load_image(path)
    assert upright.size == looks_right.size
    far = np.abs(np.asarray(upright, int) - np.asarray(looks_right, int)).max()
    assert far <= (1 if name.endswith("png") else 40)  # of a JPEG
    assert load_image(path, "official") == official != upright

    # The model gets either unchanged, and of what Pillow has only opened that which looks right.
    builder = prompt_builder("llava", tiny_llava().config, letters_tokenizer(VICUNA))

    def pixels(image):
        return builder.inputs(["Why?"], [[image]])["pixel_values"]

    plain = {"official": Image.fromarray(np.asarray(official)),
             "upright": Image.fromarray(np.asarray(upright))}  # fmt: skip
    for way, want in plain.items():
        assert torch.equal(pixels(load_image(path, way)), pixels(want))
    assert torch.equal(pixels(official), pixels(plain["official"]))
    assert torch.equal(pixels(Image.open(path)), pixels(plain["upright"]))


def test_frames_of_a_folder_and_of_a_gif_are_opened_in_the_way_that_is_asked_for(tmp_path):
    (tmp_path / "clip").mkdir()
    image, _, looks_right = ODD["rgba.png"]
    image.save(tmp_path / "clip" / "1.png")
    green = Image.new("P", (2, 1), 1)
    green.putpalette([0, 0, 0, 0, 255, 0])
    green.save(tmp_path / "a.gif", transparency=1)
    for path, under in ((tmp_path / "clip", "red"), (tmp_path / "a.gif", "#00ff00")):
        (official,), (upright,) = read_frames(path, 1), read_frames(path, 1, "upright")
        assert official.tobytes() == Image.new("RGB", (2, 1), under).tobytes()
        assert upright.getpixel((1, 0)) == (255, 255, 255)


def test_another_way_is_refused():
    with pytest.raises(ValueError, match='must be "upright" or "official", got \'exif\''):
        load_image(_gradient("RGB"), "exif")


# --- Deep pictures -----------------------------------------------------------------------------

DEEP = {
    "0 to 1": RAMP.astype(np.float32),
    "0 to 255": (255 * RAMP).astype(np.float32),
    "float 0 to 65535": (65535 * RAMP).astype(np.float32),
    "int 0 to 255": np.rint(255 * RAMP).astype(np.int32),
    "int 0 to 65535": np.rint(65535 * RAMP).astype(np.int32),
    "16 bits": np.rint(65535 * RAMP).astype(np.uint16),
    "16 bits, big-endian": np.rint(65535 * RAMP).astype(">u2"),
    "dark, 16 bits": np.rint(255 * RAMP).astype(np.uint16),
    "all black": np.zeros((8, 8), np.float32),
    "dark, floats": (30 * RAMP).astype(np.float32),
}
SHARE = {"dark, 16 bits": 1 / 257, "all black": 0, "dark, floats": 30 / 255}


@pytest.mark.parametrize("name", DEEP)
def test_deep_pictures_keep_their_range(name, tmp_path):
    image = Image.fromarray(DEEP[name])
    assert image.mode[0] in "FI"
    image.save(tmp_path / "x.tif")
    for source in (image, tmp_path / "x.tif"):
        want = 255 * RAMP * SHARE.get(name, 1)
        got = np.asarray(load_image(source), float)
        assert np.abs(got - want[..., None]).max() <= 0.51


@pytest.mark.parametrize(
    "values", [[-1, 1], [np.nan, 1], [0, np.inf], [0, 1.02], [0, 262], [0, 1e6]]
)
def test_deep_pictures_of_a_range_that_cannot_be_told_are_refused(values):
    with pytest.raises(ImageError, match="whose full range cannot be told: scale them to end at 1"):
        load_image(Image.fromarray(np.array([values], np.float32)))


@pytest.mark.parametrize(
    "source",
    [RAMP, GREY, RAMP.astype(np.float16), RAMP > 0.5, np.zeros((3, 8, 8)), np.zeros((8, 8, 4)),
     torch.zeros(3, 8, 8), np.zeros((8, 8), np.int64), [[0, 1]], None],
    ids=lambda source: f"{type(source).__name__} {getattr(source, 'dtype', '')}",
)  # fmt: skip
def test_arrays_and_tensors_are_refused_by_name(source):
    builder = prompt_builder("llava", tiny_llava().config, letters_tokenizer(VICUNA))
    kind = f"got {type(source).__name__} {getattr(source, 'dtype', '')}".strip()
    with pytest.raises(TypeError, match=f"{kind}.*fromarray"):
        load_image(source)
    with pytest.raises(TypeError, match=f"{kind}.*fromarray"):
        builder.inputs(["Why?"], [[source]])


# --- What cannot be opened ---------------------------------------------------------------------


def png(width, height, *, scanlines=b"", color=2):
    def chunk(kind, data):
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    head = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(scanlines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body


def saved(kind, **options):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind, **options)
    return buffer.getvalue()


Case = namedtuple("Case", "content reason")
WHOLE = {kind: saved(kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM")}
BROKEN = {
    "empty.jpg": Case(b"", "is not an image"),
    "text.jpg": Case(b"404: Not Found", "is not an image"),
    "page.png": Case(b"<!DOCTYPE html><html></html>", "is not an image"),
    "drawing.svg": Case(b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is not an image"),
    "head only.png": Case(WHOLE["PNG"][:8], ""),
    "bomb.png": Case(png(20_000, 20_000), "has too many pixels"),
    "bomb.gif": Case(b"GIF89a" + struct.pack("<HH", 65535, 65535) + WHOLE["GIF"][10:], ""),
    "nothing wide.png": Case(png(0, 5), ""),
    "no pixels.png": Case(png(64, 64), "is damaged or truncated"),
    "wrong sum.png": Case(WHOLE["PNG"].replace(b"IDAT", b"IDAX"), ""),
    "bad directory.tif": Case(b"II*\0\x08\0\0\0\xff\xff" + bytes(40), ""),
    **{f"half.{kind.lower()}": Case(data[: len(data) // 2], "") for kind, data in WHOLE.items()},
    "half.eps": Case(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", ""),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow
@pytest.mark.parametrize("way", ["upright", "official"])
@pytest.mark.parametrize("name", BROKEN)
def test_whatever_pillow_raises_becomes_one_error_with_the_name(name, way, tmp_path):
    content, reason = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(ImageError) as error:
            load_image(source, way, "" if source is path else name)
        assert str(error.value).startswith(f"the image {path if source is path else name} {reason}")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", WHOLE)
def test_bytes_that_were_changed_give_a_picture_or_that_error(kind):
    rng, data = np.random.default_rng(0), WHOLE[kind]
    for start in range(0, 3000, 97):
        changed = bytearray(data)
        for place in rng.integers(0, min(len(data), start + 60), 8):
            changed[place] = rng.integers(256)
        try:
            assert load_image(bytes(changed), name=kind).mode == "RGB"
        except ImageError as error:
            assert str(error).startswith(f"the image {kind} ")


@pytest.mark.filterwarnings("error")
def test_a_warning_that_is_an_error_is_that_error_too(tmp_path):
    (tmp_path / "x.png").write_bytes(png(12_000, 9_000))
    with pytest.raises(ImageError, match=r"x.png has too many pixels \(Image size \(108000000"):
        load_image(tmp_path / "x.png")


def test_what_is_no_file_is_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no image at .*nothing.png"):
        load_image(tmp_path / "nothing.png")
    with pytest.raises(ImageError, match=f"the image {tmp_path} is a folder"):
        load_image(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="pipe.png is a device"):
        load_image(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="the image .* (null|damaged)"):
        load_image("a\0b.png")
    with pytest.raises(ImageError, match="the image given is empty"):
        load_image(Image.new("RGB", (0, 5)))
    _gradient("RGB").save(tmp_path / "x.png")

    def refused(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refused)
    with pytest.raises(ImageError, match="x.png cannot be read .Permission denied"):
        load_image(tmp_path / "x.png")


def test_too_little_memory_is_no_damaged_picture(tmp_path, monkeypatch):
    """A run asks again in a smaller batch then; the picture is named all the same."""
    _gradient("RGB").save(tmp_path / "x.png")

    def full(*args):
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", full)
    with pytest.raises(MemoryError, match="x.png does not fit into memory"):
        load_image(tmp_path / "x.png")
