"""Shipping the miniature: whole or not at all, checked by digest, half precision harmless."""

from __future__ import annotations

import json
import re

import pytest
import torch
from miniature_batch import batch

from sparsevlm.miniature import load_miniature
from sparsevlm.miniature.llava.prompts import builder
from sparsevlm.miniature.qwen2_vl.images import NOMINAL
from sparsevlm.miniature.qwen2_vl.prompts import MARKS
from sparsevlm.miniature.registry import MINIATURES, get_miniature
from sparsevlm.miniature.scenes import make_scene
from sparsevlm.miniature.vocabulary import IMAGE
from sparsevlm.miniature.weights import CHECKSUMS, DATA, MissingAssetError, verify
from training.export import export
from training.llava.model import build_config, build_model
from training.llava.vision import pixel_tensor
from training.registry import get_trainer


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "mini-llava"
    export(build_model(0), folder)
    return folder


def test_what_was_shipped_loads_unchanged(shipped):
    model, _ = load_miniature(folder=shipped)
    fresh = build_model(0).half().float().state_dict()
    assert all(torch.equal(value, fresh[key]) for key, value in model.state_dict().items())
    assert not model.training and model.dtype == torch.float32


def test_a_missing_file_is_named_with_the_remedy(shipped, tmp_path):
    with pytest.raises(MissingAssetError, match="git checkout|make train"):
        load_miniature(folder=tmp_path / "nothing")
    (shipped / "config.json").rename(shipped / "away")
    with pytest.raises(MissingAssetError, match="config.json is missing"):
        verify(shipped)
    (shipped / "away").rename(shipped / "config.json")


def test_a_damaged_file_fails_its_checksum(shipped):
    path = shipped / "model.safetensors"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(MissingAssetError, match="model.safetensors fails its checksum"):
        load_miniature(folder=shipped)
    path.write_bytes(good)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown miniature 'llava'.*mini-llava"):
        load_miniature("llava")


def test_the_builder_gives_the_pixels_and_words_of_training():
    scenes = [make_scene(1), make_scene(2)]
    questions = ["what color is the ring ?", "is there a red ring in the image ?"]
    batch = builder(build_config()).inputs(questions, [[s.image] for s in scenes])
    assert torch.equal(batch["pixel_values"], pixel_tensor(scenes))
    assert (batch["input_ids"] == IMAGE).sum(1).tolist() == [576, 576]
    assert batch["attention_mask"][0, 0] == 0  # the shorter text is padded on the left


def test_a_picture_of_another_size_is_resized_to_576_tokens():
    image = make_scene(1).image.resize((200, 150))
    batch = builder(build_config()).inputs(["how ?"], [[image]])
    assert batch["pixel_values"].shape == (1, 3, 96, 96)
    assert (batch["input_ids"] == IMAGE).sum() == 576


@pytest.mark.parametrize("name", MINIATURES)
def test_the_bundled_weights_are_whole_and_small(name):
    folder = DATA / name
    assert len(verify(folder)) == 64
    listed = {line.split(maxsplit=1)[1] for line in (folder / CHECKSUMS).read_text().splitlines()}
    assert {p.name for p in folder.iterdir()} == {*listed, CHECKSUMS}
    assert sum(p.stat().st_size for p in folder.iterdir()) < 20 * 2**20


@pytest.mark.parametrize("name", MINIATURES)
def test_what_is_shipped_has_the_class_the_depth_and_the_words_of_the_code(name):
    recipe = get_trainer(name).recipe
    model, builder = load_miniature(name)
    config = json.loads((DATA / name / "config.json").read_text())
    assert config["architectures"] == [type(model).__name__]
    assert len(model.model.language_model.layers) == recipe.num_layers
    assert model.config.text_config.num_hidden_layers == recipe.num_layers
    words = json.loads((DATA / name / "tokenizer.json").read_text())["model"]["vocab"]
    assert words.items() <= builder.tokenizer.get_vocab().items()
    assert set(builder.tokenizer.get_vocab()) - set(words) <= set(MARKS)


def test_the_default_has_eight_layers():
    assert load_miniature()[0].config.text_config.num_hidden_layers == 8


@pytest.mark.parametrize("name", MINIATURES)
def test_the_declared_number_of_visual_tokens_is_that_of_the_inputs(name):
    spec = get_miniature(name)
    model, builder = load_miniature(name)
    samples = spec.samples(spec.benchmarks[0], 8, 0)
    token = getattr(model.config, "video_token_id" if "video" in name else "image_token_id")
    counts = (batch(name, builder, samples)["input_ids"] == token).sum(1)
    if name == "mini-qwen2-vl":  # images of any size around the nominal one
        assert spec.num_visual == NOMINAL**2 and 1200 < min(counts) <= max(counts) < 1450
    else:
        assert set(counts.tolist()) == {spec.num_visual}
    assert spec.marker == f"miniature model, not {spec.original}"


@pytest.mark.parametrize("name", MINIATURES)
def test_every_miniature_has_a_card_with_all_blanks_filled(name):
    card = (DATA / f"{name}.md").read_text()
    assert card.startswith(f"# Model card: {name}\n")
    assert not re.findall(r"{\w+}", card)
    assert {p.name for p in DATA.iterdir() if p.name.startswith(f"{name}.")} == {
        f"{name}.md", f"{name}.json", f"{name}.template.md",
    }  # fmt: skip
