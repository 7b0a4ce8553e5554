"""The miniature Qwen2-VL: images of any size, the fast forward, training, and pruning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_runs import assert_same_weights, run_in, values_on_a_repeated_batch

from sparsevlm.benchmarks import get_benchmark
from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.qwen2_vl.images import make_image
from sparsevlm.miniature.qwen2_vl.prompts import MARKS
from sparsevlm.miniature.qwen2_vl.prompts import builder as builder_of
from sparsevlm.miniature.qwen2_vl.questions import FAMILIES, samples
from sparsevlm.miniature.registry import MINIATURES, MiniatureSpec
from sparsevlm.miniature.scenes import SHAPE_COLORS, SHAPES
from sparsevlm.miniature.vocabulary import DEPICTED, IMAGE, WORDS, encode
from training.llava.model import build_model as build_llava
from training.losses import kept_patches
from training.packed import Places, blind_from, turn_hidden
from training.qwen2_vl.losses import (
    LISTS,
    image_turns,
    language_loss,
    vision_loss,
    visual_positions,
)
from training.qwen2_vl.model import (
    AROUND,
    BEFORE_IDS,
    build_config,
    build_model,
    starting_model,
    take_decoder,
)
from training.qwen2_vl.recipes import RECIPES
from training.qwen2_vl.vision import (
    depicted_words,
    image_patches,
    image_positions,
    merge,
    tower_features,
)
from training.recipes import Recipe, Stage

FIRST = len(BEFORE_IDS)
OPTIONS = {"lists": 2, "questions": 2, "background": 4, "alignment": 0.2}
TURNS = (
    "what color is the circle ? ASSISTANT : red </s>".split(),
    "is there a red ring in the image ? ASSISTANT".split(),
)


@pytest.fixture(scope="module")
def model():
    return build_model(0)


@pytest.fixture(scope="module")
def builder():
    return builder_of(build_config())


# Images


def test_a_picture_follows_from_its_seed_and_has_about_as_many_patches_as_asked():
    sizes = [make_image(seed).patch_objects.shape for seed in range(60)]
    counts = [rows * columns for rows, columns in sizes]
    assert 1220 <= min(counts) and max(counts) <= 1420 and 1300 < np.mean(counts) < 1340
    assert len({rows for rows, _ in sizes}) > 10, "images of many shapes"
    first, again = make_image(5), make_image(5)
    assert (first.pixels == again.pixels).all() and first.objects == again.objects
    assert again.pixels.shape == (4 * sizes[5][0], 4 * sizes[5][1], 3)
    assert make_image(5, 12).patch_objects.size < 180


def test_some_names_belong_to_one_thing_and_some_to_none():
    for seed in range(40):
        facts = Facts(make_image(seed))
        assert len(facts.by_kind) >= 2 and len(facts.by_color) >= 2 and facts.cards
        assert any(not facts.counts[kind] for kind in SHAPES)
        assert any(not facts.counts[color] for color in SHAPE_COLORS)
        assert len(facts.pairs) == len(facts.scene.shapes) >= 9
        assert not any(thing.placed_clearly for thing in facts.scene.objects)


def test_every_patch_depicts_a_thing_or_background():
    images = [make_image(4, 12), make_image(5, 14)]
    target = depicted_words(images)
    owners = np.concatenate([p.patch_objects.reshape(-1) for p in images])
    assert (target[:, DEPICTED.index("background")].numpy() == (owners < 0)).all()
    thing = images[1].shapes[0]
    row = images[0].patch_objects.size + images[1].patches_of(thing)[0]
    words = {DEPICTED[i] for i in target[row].nonzero()[:, 0].tolist()}
    assert words == {thing.kind, thing.color}


# Inputs


def test_patches_are_those_of_the_image_processor(builder):
    images = [make_image(1), make_image(2, 10)]
    pixels, grids = image_patches(images)
    inputs = builder.inputs(["what is there ?", "how many ?"], [[p.image] for p in images])
    assert torch.equal(grids, inputs["image_grid_thw"])
    assert torch.equal(pixels, inputs["pixel_values"])


def test_a_batch_of_several_sizes_is_padded_on_the_left(builder):
    images = [make_image(1), make_image(2, 10)]
    inputs = builder.inputs(["what is there ?", "is it zzz ?"], [[p.image] for p in images])
    for number, image in enumerate(images):
        ids = inputs["input_ids"][number][inputs["attention_mask"][number].bool()].tolist()
        assert ids.count(IMAGE) == image.patch_objects.size
        assert inputs["mm_token_type_ids"][number].sum() == image.patch_objects.size
    assert inputs["input_ids"][1, 0] == builder.tokenizer.pad_token_id
    text = builder.tokenizer.decode([i for i in ids if i != IMAGE])
    expected = "<s> USER : <vision_start> <vision_end> is it <unk> ? ASSISTANT :"
    assert text == expected
    assert builder.tokenizer.convert_tokens_to_ids(list(MARKS)) == list(MARKS.values())


def test_what_the_builder_refuses(builder):
    with pytest.raises(ValueError, match="got 2 questions and 1 lists"):
        builder.inputs(["a", "b"], [[make_image(1, 8).image]])
    with pytest.raises(ValueError, match="takes one image with a question, got 2"):
        builder.inputs(["a"], [[make_image(1, 8).image] * 2])


# Model and fast forward


@torch.no_grad()
def test_on_text_alone_the_decoder_is_that_of_its_base():
    base = build_llava(3)
    model = take_decoder(build_model(0), base)
    ids = torch.tensor([encode("what color is the circle ?".split())])
    assert torch.allclose(model(input_ids=ids).logits, base(input_ids=ids).logits, atol=1e-5)
    with pytest.raises(ValueError, match="8 layers of size 128"):
        take_decoder(build_model(0), build_llava(3, num_layers=9))


@torch.no_grad()
@pytest.mark.parametrize("seed", [3, 4])
def test_packed_turns_equal_the_hugging_face_forward(model, seed):
    for layer in model.model.language_model.layers:  # fresh biases are zero, trained ones not
        for linear in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
            linear.bias.normal_(generator=torch.Generator().manual_seed(0))
    image = make_image(seed, 14)
    rows, columns = image.patch_objects.shape
    assert rows != columns
    visual = merge(model, tower_features(model, [image]))[None]
    ids = torch.tensor([[encode(turn) + [0] * (10 - len(turn)) for turn in TURNS]])
    start = torch.tensor([FIRST + max(rows, columns)])
    places = Places(image_positions(rows, columns), start)
    hidden = turn_hidden(model, visual, ids, places, **AROUND)
    pixels, grid = image_patches([image])
    for number, turn in enumerate(TURNS):
        words = [*BEFORE_IDS, *[IMAGE] * rows * columns, *AROUND["after"], *encode(turn)]
        full = torch.tensor([words])
        types = (full == IMAGE).long()
        reference = model(
            input_ids=full, mm_token_type_ids=types, pixel_values=pixels, image_grid_thw=grid
        ).logits[0, -len(turn) :]
        difference = (model.lm_head(hidden[0, number, : len(turn)]) - reference).abs().max()
        assert difference < 1e-4, difference


def test_training_shows_every_patch_of_a_thing_at_its_row_and_column():
    images = [make_image(seed, 16) for seed in range(8)]
    kept = kept_patches(images, np.random.default_rng(0), 5)
    positions, starts = visual_positions(images, kept, np.random.default_rng(1))
    renumbered = 0
    for number, image in enumerate(images):
        things = np.flatnonzero(image.patch_objects.reshape(-1) >= 0)
        assert set(things) <= set(kept[number]) and kept.shape[1] > len(things)
        rows, columns = image.patch_objects.shape
        if starts[number] == FIRST + kept.shape[1]:
            renumbered += 1
            assert (positions[:, number] == FIRST + np.arange(kept.shape[1])).all()
        else:
            assert starts[number] == FIRST + max(rows, columns)
            full = image_positions(rows, columns)[:, 0].numpy()
            assert (positions[:, number] == full[:, kept[number]]).all()
    assert 0 < renumbered < len(images)
    everything = kept_patches(images[:1], np.random.default_rng(0), 0)
    assert (everything[0] == np.arange(images[0].patch_objects.size)).all()


@torch.no_grad()
def test_a_blind_turn_answers_whatever_the_picture_shows(model):
    words = torch.tensor([[encode(TURNS[0])]])
    how = {"turns": words, "places": Places(image_positions(8, 8), torch.tensor([FIRST + 8]))}
    visual = [torch.randn(1, 64, 128, generator=torch.Generator().manual_seed(s)) for s in (1, 2)]
    blind = [turn_hidden(model, v, **how, blind=blind_from(model, 0), **AROUND) for v in visual]
    seeing = [turn_hidden(model, v, **how, **AROUND) for v in visual]
    assert torch.equal(*blind) and not torch.equal(*seeing)
    never = turn_hidden(model, visual[0], **how, blind=blind_from(model, 8), **AROUND)
    assert torch.equal(never, seeing[0])


# Training


@pytest.mark.parametrize("loss", [vision_loss, language_loss])
def test_losses_fall_on_a_repeated_batch(loss):
    stage = Stage("test", "", 30, 2, 8, (), 0.01, 2e-3, 1.0, 1.0)
    values, _ = values_on_a_repeated_batch(loss, build_model(0), stage, range(2), OPTIONS, 10)
    assert 0 < values[-1] < 0.6 * values[0], values


def test_a_run_repeats_bit_for_bit(tmp_path, monkeypatch):
    frozen = RECIPES["mini-qwen2-vl"].stages[-1].frozen
    options = tuple(OPTIONS.items())
    stages = (
        Stage("one", "vision", 3, 2, 10, ("layers.", "lm_head"), 0.01, 1e-3, 0.5, 0.1),
        Stage("two", "language", 3, 2, 10, frozen, 0.01, 1e-3, 0.5, 0.1, options),
    )
    monkeypatch.setitem(MINIATURES, "tiny", MiniatureSpec("tiny", "qwen2_vl", "", 1296))
    monkeypatch.setitem(RECIPES, "tiny", Recipe(8, stages, base="mini-llava"))
    weights, _ = run_in(tmp_path / "whole", "tiny")
    assert_same_weights(weights, run_in(tmp_path / "again", "tiny")[0])
    start = starting_model(RECIPES["tiny"], 0).state_dict()
    still = {key for key, value in start.items() if torch.equal(value, weights[key])}
    assert not still, f"never trained: {still}"


def test_the_last_stage_asks_more_of_what_is_learned_last():
    options = dict(RECIPES["mini-qwen2-vl"].stages[-1].options)
    for seed in range(20):
        turns = image_turns(Facts(make_image(seed, 20)), np.random.default_rng(seed), options)
        assert sorted(label for label, *_ in turns[:6]) == sorted(f"list/{n}" for n in LISTS)
        asked = [label.removeprefix("ask/") for label, *_ in turns[6:]]
        late = [name for name in asked if name == "mmbench/text" or name.startswith("pope/")]
        assert len(asked) == 8 and len(late) >= 4


# Questions


@pytest.mark.parametrize("benchmark", FAMILIES)
def test_benchmarks_are_whole_groups_and_the_same_again(benchmark):
    drawn = samples(benchmark, 48, 0)
    assert drawn == samples(benchmark, 48, 0) != samples(benchmark, 48, 1)
    assert len(samples(benchmark, len(drawn), 0)) == len(drawn) >= 45
    rows = [{**sample.to_json(), "prediction": sample.answer} for sample in drawn]
    assert get_benchmark(benchmark).score(rows)["score"] == pytest.approx(100)
    assert all(set(s.question.split()) <= set(WORDS) for s in drawn)
    with pytest.raises(
        ValueError, match="unknown benchmark 'gqa'; choose from mmbench, pope, textvqa"
    ):
        samples("gqa", 4, 0)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        samples(benchmark, 0, 0)
