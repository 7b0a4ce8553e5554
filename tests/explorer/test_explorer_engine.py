"""Asking real models: the miniature, and tiny checkpoints of every architecture from folders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_checkpoints import save_tiny

import sparsevlm as sv
from sparsevlm.evaluation.answer import inputs_on
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.explorer.engine import Engine
from sparsevlm.explorer.exploration import Query
from sparsevlm.explorer.images import ImageInput
from sparsevlm.explorer.session import ExplorerSession
from sparsevlm.miniature.scenes import make_scene
from sparsevlm.models.checkpoints.places import CheckpointError

ON_A_CPU = replace(get_profile("a100"), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def engine():
    return Engine.of(ExplorerSession().profile)


@pytest.fixture(scope="module")
def image():
    return ImageInput.open("scene_6")


def noise(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def patches_of(name, seed=6):
    """Patches of an object of a scene, such as "brown card"."""
    scene = make_scene(seed)
    (thing,) = [found for found in scene.objects if str(found) == name]
    return tuple(int(token) for token in scene.patches_of(thing))


def inputs_of(engine, image, question):
    return inputs_on(engine.loaded.model, engine.loaded.builder, [question], [image.frames])


def texts(answer):
    return [token.text for token in answer]


def test_an_answer_is_that_of_the_model(engine, image):
    query = Query("what shape is the pink thing ?")
    found, place = engine.explore(image, query)
    inputs = inputs_of(engine, image, query.question)
    pruner = sv.make_pruner("sparsevlm", tokens=64, num_layers=8, num_visual=576)
    with torch.inference_mode(), sv.prune(engine.loaded.model, pruner) as trace:
        logits = engine.loaded.model(**inputs).logits[0, -1]
    assert found.trace == trace.samples[0] and found.pruner["name"] == "sparsevlm"
    probability, token = logits.softmax(-1).max(-1)
    assert found.pruned[0].text == engine.loaded.builder.tokenizer.decode([int(token)])
    assert found.pruned[0].probability == pytest.approx(float(probability), rel=1e-4)
    with torch.inference_mode():
        dense = engine.loaded.model(**inputs).logits[0, -1].softmax(-1)
    assert found.pruned[0].other == pytest.approx(float(dense[token]), rel=1e-4)
    assert place.box == (0, 0, 96, 96) and place.grid == (24, 24)
    assert found.words[:2] == ("what", "shape") and len(found.words) == len(found.relevance)
    assert found.num_text == inputs["input_ids"].shape[1] - 576


def test_a_different_answer_is_rated_by_both_models(engine, image):
    """Each model's answer is given, token by token, to the other one too."""
    query = Query("describe the white card .", "fastv", 16, drop=patches_of("white card"))
    found, _ = engine.explore(image, query)
    inputs = inputs_of(engine, image, query.question)
    assert texts(found.dense) != texts(found.pruned), "else this shows nothing"
    tokenizer, model = engine.loaded.builder.tokenizer, engine.loaded.model
    answer = torch.tensor([tokenizer.convert_tokens_to_ids(texts(found.pruned))])
    whole = {key: value for key, value in inputs.items() if key == "pixel_values"}
    ids = torch.cat([inputs["input_ids"], answer], dim=1)
    with torch.inference_mode():
        logits = model(input_ids=ids, **whole).logits[0, -1 - answer.shape[1] : -1]
    expected = logits.softmax(-1).gather(1, answer.T).flatten().tolist()
    assert [t.other for t in found.pruned] == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_sparsevlm_plus_has_fewer_heads_in_a_small_model(engine, image):
    found, _ = engine.explore(image, Query("what color is the ring ?", "sparsevlm-plus"))
    assert found.pruner["heads"] == 2


@pytest.mark.parametrize(
    ("query", "match"),
    [
        (Query(" "), "question is empty"),
        (Query("what ?", tokens=4000), "tokens"),
        (Query("what ?", "fastv", keep=(576,)), "576 visual tokens"),
    ],
)
def test_what_cannot_be_asked(engine, image, query, match):
    with pytest.raises(ValueError, match=match):
        engine.explore(image, query)


def test_words_that_the_model_does_not_know(engine):
    assert engine.unknown_words("What zebra is a zebra on the Card?") == ["zebra"]
    known = engine.known_words()
    assert {"ring", "brown", "Z"} <= set(known) and not {"<unk>", "USER", "zebra"} & set(known)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("What color is the ring?", "what color is the ring ?"),
        ("WHAT COLOUR IS THE RING?!", "what color is the ring ?"),
        ("what color is the ring", "what color is the ring"),
        ("How many circles, crosses and squares?", "how many circle , cross and square ?"),
        ("What’s on the “brown card”?", "what is on the brown card ?"),
        ("A ring?", "a ring ?"),
        ("Is the letter A?", "is the letter A ?"),
        ("  what   shape?", "what shape ?"),
    ],
)
def test_questions_as_people_type_them(engine, image, typed, read):
    found, _ = engine.explore(image, Query(typed, "fastv"))
    assert " ".join(found.words[:-2]) == read
    assert found.pruned == engine.explore(image, Query(read, "fastv"))[0].pruned


def test_a_tokenizer_that_knows_every_word_takes_a_question_as_it_is(tiny_engine):
    engine = tiny_engine("qwen2_vl")
    for typed in ("What color is the Ring?  ", "WHAT's  this"):
        assert engine._spelled(typed) == typed and engine.unknown_words(typed) == []


@pytest.mark.parametrize(
    ("name", "source", "tokens", "grid"),
    [
        ("mini-gemini", "scene_6", 64, (24, 24)),
        ("mini-qwen2-vl", "scene_6", 64, (24, 24)),
        ("mini-video-llava", "clip_2", 228, (8, 16, 16)),
    ],
)
def test_every_miniature(name, source, tokens, grid):
    engine, image = Engine.of(get_profile("mini").with_model(name)), ImageInput.open(source)
    found, place = engine.explore(image, Query(image.sample.questions[1], "random", tokens))
    assert place.grid == grid and place.box == (0, 0, *image.size)
    assert texts(found.dense) and texts(found.pruned) and engine.info.marker.startswith("miniature")
    assert found.trace.stages[-1].num_left < found.trace.num_visual
    assert found.words[-2:] == ("ASSISTANT", ":")


# --- Checkpoints from folders --------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_engine(tmp_path_factory):
    engines = {}

    def of(family):
        if family not in engines:
            folder = tmp_path_factory.mktemp(family)
            save_tiny(family, folder)
            engines[family] = Engine.of(ON_A_CPU.with_model(str(folder)))
        return engines[family]

    return of


@pytest.mark.parametrize(
    ("family", "frames", "grid", "num_visual", "box"),
    [
        ("llava", 1, (24, 24), 576, (0, -15, 90, 75)),
        ("video_llava", 1, (6, 6), 36, (15, 0, 75, 60)),
        ("video_llava", 9, (4, 6, 6), 148, (15, 0, 75, 60)),
        ("qwen2_vl", 1, (30, 44), 1320, (0, 0, 90, 60)),
        ("mini_gemini", 1, (16, 16), 256, (0, -15, 90, 75)),
    ],
)
def test_a_checkpoint_of_every_architecture(tiny_engine, family, frames, grid, num_visual, box):
    engine = tiny_engine(family)
    seen = engine.seen(ImageInput.open([noise(90, 60, seed) for seed in range(frames)]))
    found, place = engine.explore(seen, Query("Why?", "sparsevlm", num_visual // 3))
    assert place.grid == grid and place.num_visual == found.trace.num_visual == num_visual
    assert place.box == box and len(seen.frames) == min(frames, 4)
    assert "W" in found.words and found.pruned and engine.info.marker == ""
    assert "/" not in engine.info.name, "a folder of this machine is not written down"
    assert found.trace.stages[-1].num_left < num_visual
    expected = "original" if family == "qwen2_vl" else "renumbered"
    assert found.pruner["positions"] == expected


def test_a_film_for_qwen(tiny_engine):
    """Two frames per step; not run, for a frame of the real processor has 1,568 tokens here."""
    frames = [noise(90, 60, i) for i in range(3)]
    inputs = inputs_of(tiny_engine("qwen2_vl"), ImageInput.open(frames), "Why?")
    assert inputs["video_grid_thw"][0, 0] == 2 and "pixel_values" not in inputs


def test_a_video_for_a_model_of_images(tiny_engine):
    with pytest.raises(ValueError, match="one image"):
        tiny_engine("llava").explore(ImageInput.open([noise(4, 4), noise(4, 4)]), Query("Why?"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_gpu_profile_without_a_gpu():
    with pytest.raises(CheckpointError, match="no GPU"):
        ExplorerSession("a100").engine()
