"""A shared session is under 1 MB whatever its picture, and brings back the same answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_checkpoints import FAMILIES, letters_tokenizer

from sparsevlm.explorer.app import Explorer
from sparsevlm.explorer.exploration import Query, SavedSession
from sparsevlm.explorer.geometry import montage
from sparsevlm.explorer.images import ImageInput
from sparsevlm.explorer.session import ExplorerSession
from sparsevlm.models.images import load_image
from sparsevlm.models.prompts import prompt_builder
from sparsevlm.runtime.trace import MAX_BYTES

ASK = Query("what color is the ring ?", "sparsevlm", 64)


def noise(width, height, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def photograph(width, height):
    """Smooth, with the grain of a camera, which compresses badly."""
    coarse = noise(40, 30).resize((width, height), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(1).normal(0, 6, (height, width, 1))
    return Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8))


CASES = {
    "12 megapixels": ("mini-llava", photograph(4000, 3000), True),
    "panorama": ("mini-llava", photograph(16000, 300), True),
    "tower": ("mini-llava", photograph(40, 20000), True),
    "twice as fine": ("mini-gemini", noise(900, 600), True),
    "any size": ("mini-qwen2-vl", photograph(400, 300), True),
    "any size, noise": ("mini-qwen2-vl", noise(1600, 1200), False),
    "a video of noise": ("mini-video-llava", [noise(320, 240, seed) for seed in range(12)], True),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_any_picture_can_be_kept_and_is_asked_about_again(name, tmp_path):
    model, picture, exact = CASES[name]
    query = replace(ASK, tokens=200) if "video" in model else ASK
    session = ExplorerSession("mini", model)
    session.put(picture)
    before = session.answer(query)
    path = session.saved([before]).save(tmp_path / "session.json.gz")
    assert path.stat().st_size <= MAX_BYTES

    again = ExplorerSession("mini", model)
    saved = again.load(path)
    assert saved.geometry == session.geometry and saved.image.size == session.image.size
    assert saved.image.exact is exact
    (found,) = saved.explorations
    assert found == replace(before, attention=found.attention)
    state = Explorer.resumed(again, [found.query])
    assert ("made smaller to be shared" in state.caution()) is not exact
    drawn = montage(saved.image, saved.geometry)
    assert drawn.rectangles == montage(session.image, session.geometry).rectangles

    new, geometry = again.engine().explore(again.engine().seen(saved.image), query)
    assert geometry == session.geometry or not exact
    if exact:
        assert (new.trace, new.dense, new.pruned) == (before.trace, before.dense, before.pruned)
    # And kept once more: what was exact stays so, and what was not is not said to be.
    last = SavedSession.load(again.saved([found]).save(tmp_path / "again.json.gz")).image
    assert last.exact is exact and last.size == saved.image.size
    assert [f.tobytes() for f in last.asked] == [f.tobytes() for f in saved.image.asked]


def test_a_tower_is_shared_with_its_figure_and_apart_from_others(tmp_path):
    folders = []
    for seed in range(2):
        session = ExplorerSession("mini")
        session.put(noise(2, 2000, seed))
        folders.append(Explorer(session, ASK).share(tmp_path))
    assert folders[0] != folders[1]
    assert Image.open(folders[0] / "figure.png").height < 2000


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(90, 61), (400, 300), (33, 200)])
def test_a_model_sees_the_same_in_what_it_has_seen(family, size):
    """Bit for bit; models of one size of input see that."""
    make, vocabulary = FAMILIES[family]
    builder = prompt_builder(family, make().config, letters_tokenizer(vocabulary))
    for images in ([noise(*size)], [noise(*size, seed) for seed in range(11)]):
        if len(images) > 1 and builder.template.video is None:
            continue
        seen = builder.seen(images)
        assert len({image.size for image in seen}) == 1
        any_shape = family in ("qwen2_vl", "llava_next")
        assert any_shape or seen[0].width == seen[0].height
        first, again = (builder.inputs(["Why?"], [shown]) for shown in (images, seen))
        assert first.keys() == again.keys()
        assert all(torch.equal(first[key], again[key]) for key in first)


def test_own_pictures_are_opened_as_they_look_right(tmp_path):
    image, exif = noise(6, 3).convert("RGBA"), Image.Exif()
    image.putalpha(0)
    exif[0x0112] = 6
    image.save(tmp_path / "x.png", exif=exif)
    for source in (tmp_path / "x.png", str(tmp_path / "x.png"), Image.open(tmp_path / "x.png")):
        opened = ImageInput.open(source)
        assert opened.size == (3, 6)
        assert opened.frames[0].getextrema() == ((255, 255),) * 3
    with pytest.raises(TypeError, match="got ndarray float64"):
        ImageInput.open(np.zeros((3, 3)))
    assert load_image((tmp_path / "x.png").read_bytes()).size == (3, 6)
