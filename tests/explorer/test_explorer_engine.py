"""Asking real models: the miniature, and tiny checkpoints of every family loaded by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from checkpoints import PROFILE, save_checkpoint
from PIL import Image

import sparsevlm as sv
from sparsevlm.explorer.engine import Engine, readable
from sparsevlm.explorer.run import Ask
from sparsevlm.explorer.samples import open_picture
from sparsevlm.explorer.session import Desk
from sparsevlm.miniature.scenes import make_scene


@pytest.fixture(scope="module")
def desk():
    found = Desk("mini")
    found.put("scene_6")
    return found


@pytest.fixture(scope="module")
def picture():
    return open_picture("scene_6")


def noise(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def patches_of(name, seed=6):
    """Patches of an object of a scene, such as "brown card"."""
    scene = make_scene(seed)
    (thing,) = [found for found in scene.objects if str(found) == name]
    return tuple(int(token) for token in scene.patches_of(thing))


def texts(answer):
    return [token.text for token in answer]


def test_an_answer_is_that_of_the_model(desk, picture):
    engine, ask = desk.engine(), Ask("what shape is the pink thing ?")
    run, place = engine.ask(picture, ask)
    inputs = engine.loaded.inputs(picture, ask.question)
    pruner = sv.make_pruner("sparsevlm", tokens=64, num_layers=8, num_visual=576)
    with torch.inference_mode(), sv.prune(engine.loaded.model, pruner) as trace:
        logits = engine.loaded.model(**inputs).logits[0, -1]
    assert run.sample == trace.samples[0] and run.pruner["name"] == "sparsevlm"
    probability, token = logits.softmax(-1).max(-1)
    assert run.pruned[0].text == engine.loaded.tokenizer.decode([int(token)])
    assert run.pruned[0].probability == pytest.approx(float(probability), rel=1e-4)
    with torch.inference_mode():
        dense = engine.loaded.model(**inputs).logits[0, -1].softmax(-1)
    assert run.pruned[0].other == pytest.approx(float(dense[token]), rel=1e-4)
    assert place.box == (0, 0, 96, 96) and place.grid == (24, 24)
    assert run.words[:2] == ("what", "shape") and len(run.words) == len(run.relevance)
    assert run.num_text == inputs["input_ids"].shape[1] - 576


def test_a_different_answer_is_rated_by_both_models(desk, picture):
    """Each model's answer is given, token by token, to the other one too."""
    engine = desk.engine()
    ask = Ask("describe the white card .", "fastv", 16, drop=patches_of("white card"))
    run, _ = engine.ask(picture, ask)
    inputs = engine.loaded.inputs(picture, ask.question)
    assert texts(run.dense) != texts(run.pruned), "else this shows nothing"
    tokenizer, model = engine.loaded.tokenizer, engine.loaded.model
    answer = torch.tensor([tokenizer.convert_tokens_to_ids(texts(run.pruned))])
    whole = {key: value for key, value in inputs.items() if key == "pixel_values"}
    ids = torch.cat([inputs["input_ids"], answer], dim=1)
    with torch.inference_mode():
        logits = model(input_ids=ids, **whole).logits[0, -1 - answer.shape[1] : -1]
    expected = logits.softmax(-1).gather(1, answer.T).flatten().tolist()
    assert [t.other for t in run.pruned] == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_a_rater_and_a_patch_that_help_the_answer(desk, picture):
    """The card is lost because only "card" may rate; "brown", or its own patches, bring it back."""
    engine, ask = desk.engine(), Ask("what letter is on the brown card ?")
    plain, _ = engine.ask(picture, ask)
    assert texts(plain.dense) == ["Z"]
    brown, card = plain.words.index("brown"), patches_of("brown card")
    helped, _ = engine.ask(picture, replace(ask, raters=(*plain.raters, brown)))
    rescued, _ = engine.ask(picture, replace(ask, keep=card))
    assert set(card) <= set(rescued.sample.stages[-1].kept)
    for run in (helped, rescued):
        assert run.dense[0].other > max(0.9, plain.dense[0].other - 1e-3)


def test_sparsevlm_plus_has_fewer_heads_in_a_small_model(desk, picture):
    run, _ = desk.engine().ask(picture, Ask("what color is the ring ?", "sparsevlm-plus"))
    assert run.pruner["heads"] == 2


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (Ask(" "), "question is empty"),
        (Ask("what ?", tokens=4000), "tokens"),
        (Ask("what ?", "fastv", keep=(576,)), "576 visual tokens"),
    ],
)
def test_what_cannot_be_asked(desk, picture, ask, match):
    with pytest.raises(ValueError, match=match):
        desk.engine().ask(picture, ask)


def test_words_that_the_model_does_not_know(desk):
    assert desk.engine().unknown_words("what zebra is on the Card ?") == ["zebra"]


def test_readable_tokens():
    assert [readable(t) for t in ("▁sign", "Ġsign", "<0x0A>", "▁", "s")] == [
        "sign", "sign", "⏎", "␣", "s"
    ]  # fmt: skip


# --- Other checkpoints ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


@pytest.mark.parametrize(
    ("name", "frames", "grid", "num_visual", "box"),
    [
        ("llava", 1, (24, 24), 576, (0, -15, 90, 75)),
        ("video_llava", 1, (6, 6), 36, (15, 0, 75, 60)),
        ("video_llava", 9, (4, 6, 6), 148, (15, 0, 75, 60)),
        ("qwen2_vl", 1, (8, 11), 88, (0, 0, 90, 60)),
    ],
)
def test_a_checkpoint_of_every_family(folder, name, frames, grid, num_visual, box):
    path = folder / name
    if not path.exists():
        save_checkpoint(name, path)
    engine = Engine.of(PROFILE, str(path))
    opened = open_picture([noise(90, 60, seed) for seed in range(frames)])
    seen = engine.loaded.seen(opened)
    run, place = engine.ask(seen, Ask("Why?", "sparsevlm", num_visual // 3))
    assert place.grid == grid and place.num_visual == run.sample.num_visual == num_visual
    assert place.box == box and len(seen.frames) == min(frames, 4)  # the tiny model sees four
    assert "W" in run.words and engine.model.name == name and run.pruned
    assert run.sample.stages[-1].num_left < num_visual
    expected = "original" if name == "qwen2_vl" else "renumbered"
    assert run.pruner["positions"] == expected


def test_a_film_for_qwen(folder):
    """Two frames per step; not run, for a step of it has 128 tokens and more."""
    path = folder / "qwen2_vl"
    if not path.exists():
        save_checkpoint("qwen2_vl", path)
    engine = Engine.of(PROFILE, str(path))
    inputs = engine.loaded.inputs(open_picture([noise(90, 60, i) for i in range(3)]), "Why?")
    assert inputs["video_grid_thw"][0, 0] == 2 and "pixel_values" not in inputs


def test_a_video_for_a_model_of_pictures(folder):
    if not (folder / "llava").exists():
        save_checkpoint("llava", folder / "llava")
    engine = Engine.of(PROFILE, str(folder / "llava"))
    with pytest.raises(ValueError, match="one image with a question"):
        engine.ask(open_picture([noise(4, 4), noise(4, 4)]), Ask("Why?"))


def test_a_checkpoint_of_an_unknown_family(tmp_path):
    from transformers import LlamaConfig

    LlamaConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a llama; the explorer knows llava"):
        Engine.of(PROFILE, str(tmp_path))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_gpu_profile_without_a_gpu():
    with pytest.raises(RuntimeError, match="torch sees none here"):
        Desk("a100").engine()
