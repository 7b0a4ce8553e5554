"""The miniature Mini-Gemini: its images, its growth, training, the weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from miniature_batch import batch
from PIL import Image
from training_runs import assert_same_weights, run_in

from sparsevlm import make_pruner, prune
from sparsevlm.miniature import load_miniature
from sparsevlm.miniature.mini_gemini.images import CELL, SCALE, make_image, small_cards
from sparsevlm.miniature.mini_gemini.prompts import builder as builder_of
from sparsevlm.miniature.mini_gemini.questions import samples, scene
from sparsevlm.miniature.questions import benchmark_samples
from sparsevlm.miniature.scenes import CARD_COLORS, make_scene
from sparsevlm.miniature.vocabulary import DEPICTED
from sparsevlm.miniature.weights import DATA
from sparsevlm.models.prompts.clip import clip_pixels
from training import train
from training.llava.vision import encode_images
from training.mini_gemini import recipes
from training.mini_gemini.losses import depicted_in_cells, language_loss, mining_loss
from training.mini_gemini.model import grow, starting_model
from training.mini_gemini.probes import probes, silent_mining, small_print_accuracy
from training.mini_gemini.vision import coarse_pixels, fine_pixels, mined_features
from training.recipes import Recipe, Stage

OPTIONS = {"lists": 2, "questions": 2, "background": 4, "alignment": 0.2, "small": 1}
QUESTION = "what color is the thing ?"


@pytest.fixture(scope="module")
def base():
    return load_miniature("mini-llava")


@pytest.fixture(scope="module")
def grown(base):
    return grow(base[0], seed=0).eval()


@pytest.fixture(scope="module")
def shipped():
    return load_miniature("mini-gemini")


# Images


@pytest.mark.parametrize("grid", [24, 12])
def test_the_fine_picture_is_the_scene_with_small_cards_on_it(grid):
    scene, image = make_scene(11, grid), make_image(11, grid)
    blocks = image.pixels.reshape(4 * grid, SCALE, 4 * grid, SCALE, 3)
    same = (blocks == scene.pixels[:, None, :, None]).all(axis=(1, 3, 4))
    cards = small_cards(image)
    assert cards == image.objects[len(scene.objects) :] and cards
    assert image.objects[: len(scene.objects)] == scene.objects
    for card in cards:
        top, left, height, width = card.box
        assert not same[top : top + height, left : left + width].all()
        same[top : top + height, left : left + width] = True
    assert same.all()
    old = scene.patch_objects >= 0
    assert (image.patch_objects[old] == scene.patch_objects[old]).all()


def test_every_card_can_be_named_by_its_color_and_small_ones_own_patches():
    for seed in range(30):
        image = make_image(seed)
        colors = [card.color for card in image.cards]
        assert len(set(colors)) == len(colors) <= len(CARD_COLORS)
        assert small_cards(image)
        for card in small_cards(image):
            assert 2 <= len(image.patches_of(card)) <= 6
    assert len(small_cards(make_image(3, 12, many_cards=9))) > 4


def test_a_picture_is_the_same_on_every_call():
    first, again = make_image(5), make_image(5)
    assert (first.pixels == again.pixels).all() and first.objects == again.objects


# Growth


@torch.no_grad()
def test_the_grown_model_computes_what_its_base_computes(base, grown):
    model, builder = base
    scene = make_scene(21)
    fine = scene.image.resize((192, 192), Image.Resampling.NEAREST)
    wanted = model(**builder.inputs([QUESTION], [[scene.image]])).logits
    inputs = builder_of(grown.config).inputs([QUESTION], [[fine]])
    logits = grown(**inputs).logits
    # Both normalize the same pixels in another way, so they differ by rounding.
    torch.testing.assert_close(logits, wanted, rtol=0, atol=2e-3)
    with silent_mining(grown):
        assert torch.equal(grown(**inputs).logits, logits)


@torch.no_grad()
def test_towers_of_windows_and_whole_images_are_those_of_the_model(base, grown):
    scene = make_image(8)
    fine = fine_pixels([scene])
    wanted = grown.model.get_image_features(coarse_pixels(fine), fine)
    assert torch.equal(grown.model.projector(mined_features(grown, [scene])), wanted)
    window = make_scene(8, 12)
    upscaled = make_image(8, 12)
    features = mined_features(grown, [upscaled])[0]
    reference = encode_images(base[0], [window])[0]
    far = upscaled.patch_objects.reshape(-1) < 0
    # Small cards change their neighbours a little through attention, so only most agree.
    difference = (features - reference).abs().mean(1)[torch.from_numpy(far)]
    assert difference.median() < 0.2 * reference.abs().mean()


# Inputs


def test_pictures_take_the_way_of_the_big_model(grown):
    scene = make_image(4)
    builder = builder_of(grown.config)
    inputs = builder.inputs(["a ?", "an a ?"], [[scene.image]] * 2)
    assert inputs["input_ids"].shape == (2, 3 + 576 + 5)
    assert (inputs["input_ids"] == 4).sum(1).tolist() == [576, 576]
    assert inputs["attention_mask"][0].tolist()[:2] == [0, 1], "padded on the left"
    fine = fine_pixels([scene])
    torch.testing.assert_close(inputs["pixel_values_aux"][:1], fine)
    torch.testing.assert_close(inputs["pixel_values"][:1], coarse_pixels(fine))
    assert torch.equal(inputs["pixel_values_aux"][:1], clip_pixels([scene.image], 192, "pad"))
    with pytest.raises(ValueError, match="takes one image with a question"):
        builder.inputs(["a ?"], [[]])


def test_questions_are_those_of_mini_llava_and_every_second_of_textvqa_is_about_small_print():
    assert samples("gqa", 6, 3) == benchmark_samples("gqa", 6, 3)
    plain, drawn = benchmark_samples("textvqa", 20, 3), samples("textvqa", 20, 3)
    assert drawn[::2] == plain[::2]
    assert [s.id for s in drawn] == [s.id for s in plain]
    for sample in drawn[1::2]:
        assert sample.split == "small text" and sample.answers == (sample.answer,) * 10
        named = {card.color: card.glyph for card in small_cards(make_image(sample.seed))}
        (color,) = set(sample.question.split()) & set(named)
        assert sample.answer == named[color]
        assert scene(sample.seed).image.size == (192, 192)


# Training


_FROZEN = ("layers.", "lm_head", "embed_tokens", "vision_tower.", "projector")
TINY = (
    Stage("cells", "cells", 16, 4, 12, _FROZEN, 0.02, 2e-3, 1.0, 1.0, (("many cards", 8),)),
    Stage("mine", "mining", 2, 2, 12, _FROZEN, 0.02, 2e-3, 1.0, 1.0, (("many cards", 8),)),
    Stage("ask", "language", 2, 2, 12, ("vision_tower.",), 0.002, 3e-4, 1.0, 1.0,
          tuple(OPTIONS.items())),
)  # fmt: skip


def test_training_lowers_the_loss_and_repeats_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "mini-gemini", Recipe(8, TINY, "mini-llava", 20))
    monkeypatch.setattr(train, "LOG_EVERY", 4)
    weights, rows = run_in(tmp_path / "first", "mini-gemini")
    assert_same_weights(weights, run_in(tmp_path / "again", "mini-gemini")[0])
    losses = [row["loss"] for row in rows if row["stage"] == "cells"]
    assert losses[-1] < 0.6 * losses[0], losses


def test_the_base_that_is_shipped_no_more_is_asked_for_by_its_place_in_the_history():
    with pytest.raises(FileNotFoundError, match=r"git checkout 7e10681 -- data/miniature/mini-lla"):
        starting_model(recipes.RECIPES["mini-gemini"], 0)


def test_cells_of_small_cards_depict_their_letter_and_all_others_the_background():
    scene = make_image(2)
    words, letters = depicted_in_cells([scene])
    cards = small_cards(scene)
    shown = letters[0] >= 0
    assert shown.sum() == 9 * len(cards)
    assert (words[0].sum(1) == torch.where(shown, 3, 1)).all()
    for card in cards:
        top, left = (SCALE * v // CELL for v in card.box[:2])
        found = {DEPICTED[i] for i in words[0, top * 48 + left].nonzero()[:, 0].tolist()}
        assert found == {"card", card.color, card.glyph}


def test_only_the_low_resolution_tower_gets_no_gradient(base):
    model = grow(base[0], seed=0)
    with torch.no_grad():
        # With the zero it starts from, nothing behind the value could get a gradient.
        model.model.mining.value[1].weight.normal_(0, 0.05)
    loss, measures = language_loss(model, range(2), 12, OPTIONS)
    loss.backward()
    assert measures["ask/small text"][1] == 2, "one more question for each of two images"
    none = {name for name, weight in model.named_parameters() if weight.grad is None}
    assert none == {n for n, _ in model.named_parameters() if "vision_tower." in n}
    _, measures = mining_loss(model, range(2), 12, {"many cards": 5})
    right, count = measures["small letter"]
    assert 0 <= right <= count and count >= 2 * 2 * 2


# The weights


def test_the_card_reports_95_percent_on_every_benchmark_and_names_the_weak_kinds():
    accuracies = json.loads((DATA / "mini-gemini.json").read_text())["accuracies"]
    assert len(accuracies) == 8
    assert all(entry["accuracy"] >= 0.95 for entry in accuracies.values())
    assert accuracies["textvqa"]["splits"]["small text"] >= 0.95
    card = (DATA / "mini-gemini.md").read_text()
    for name, entry in accuracies.items():
        for kind, value in entry["splits"].items():
            assert value >= 0.95 or f"`{name}/{kind}`" in card, (name, kind, value)


def test_small_print_needs_the_high_resolution_tower(shipped):
    model, _ = shipped
    assert small_print_accuracy(model, 8) > 0.8
    with silent_mining(model):
        assert small_print_accuracy(model, 8) < 0.5


@torch.no_grad()
def test_the_shipped_model_answers_and_can_be_pruned(shipped):
    model, builder = shipped
    drawn = samples("gqa", 6, 1)
    inputs = batch("mini-gemini", builder, drawn)
    asked = inputs["input_ids"].shape[1]
    words = builder.decode(model.generate(**inputs, max_new_tokens=1)[:, asked:])
    assert np.mean([w == s.answer for w, s in zip(words, drawn, strict=True)]) > 0.8, words
    pruner = make_pruner("sparsevlm", tokens=192, num_layers=16, num_visual=576)
    with prune(model, pruner) as trace:
        model.generate(**inputs, max_new_tokens=1)
    assert abs(trace.mean_tokens_out - 192) < 1
    assert {sample.grid for sample in trace.samples} == {(24, 24)}


def test_probes_measure_every_layer_and_small_cards_apart(shipped):
    model, _ = shipped
    found = probes(model, 1, 2)
    objects, small = found["attention"], found["attention on small cards"]
    assert len(small["naming word"]) == len(objects["last token"]) == 16
    assert small["area"][0] < objects["area"][0]
    without = found["without_image_from"]
    assert len(without) == 17 and without[0] < without[-1]
