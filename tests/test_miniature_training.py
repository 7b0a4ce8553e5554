"""Training of the miniature: the fast forward is the real one, and a run can be repeated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_runs import assert_same_weights, run_in, values_on_a_repeated_batch

from sparsevlm.miniature import load_miniature
from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.registry import MINIATURES, MiniatureSpec
from sparsevlm.miniature.scenes import make_scene
from sparsevlm.miniature.vocabulary import BEFORE_IMAGE, DEPICTED, IMAGE, encode
from training import losses, train
from training.card import finished_run, stage_seconds
from training.drafts import HARD_KINDS
from training.llava.losses import LOSSES, language_loss, scene_turns, vision_loss
from training.llava.model import build_model, spread_layers, starting_model
from training.llava.probes import probes
from training.llava.recipes import RECIPES
from training.llava.vision import depicted_words, encode_images, pixel_tensor, project
from training.losses import alignment_loss
from training.optim import Muon, orthogonalize
from training.packed import Places, blind_from, turn_hidden
from training.recipes import Recipe, Stage

OPTIONS = {"lists": 2, "questions": 2, "background": 4, "alignment": 0.2}


@pytest.fixture(scope="module")
def model():
    return build_model(0)


@torch.no_grad()
def test_packed_turns_equal_the_hugging_face_forward(model):
    scenes = [make_scene(7)]
    turns = [
        "what color is the circle ? ASSISTANT : red </s>".split(),
        "is there a red ring in the image ? ASSISTANT".split(),
    ]
    visual = project(model, encode_images(model, scenes))
    ids = torch.tensor([[encode(t) for t in turns]])
    places = Places(torch.arange(3, 579)[None], torch.tensor([579]))
    hidden = turn_hidden(model, visual, ids, places)
    for number, turn in enumerate(turns):
        full = torch.tensor([[*encode(list(BEFORE_IMAGE)), *[IMAGE] * 576, *encode(turn)]])
        reference = model(input_ids=full, pixel_values=pixel_tensor(scenes)).logits
        difference = (model.lm_head(hidden[0, number]) - reference[0, -len(turn) :]).abs().max()
        assert difference < 1e-5, difference


@torch.no_grad()
def test_whole_scenes_are_encoded_as_by_the_vision_tower(model):
    scenes = [make_scene(1), make_scene(2)]
    expected = model.model.vision_tower(pixel_tensor(scenes)).last_hidden_state[:, 1:]
    assert torch.equal(encode_images(model, scenes), expected)


def test_every_patch_depicts_its_place_and_an_object_or_background():
    scene = make_scene(4)
    target = depicted_words([scene])[0]
    background = target[:, DEPICTED.index("background")]
    assert (background.numpy() == (scene.patch_objects.reshape(-1) < 0)).all()
    assert (target.sum(1)[background] == 3).all()  # background, side, height
    obj = scene.shapes[0]
    words = {DEPICTED[i] for i in target[scene.patches_of(obj)[0]].nonzero()[:, 0].tolist()}
    assert {obj.kind, obj.color} < words and len(words) == 4


def test_alignment_is_minimal_when_every_depicted_word_wins():
    model = build_model(1)
    target = depicted_words([make_scene(4)])
    visual = torch.randn(1, 576, 128) * 0.1
    embeddings = model.model.language_model.embed_tokens.weight.detach()
    ids = torch.tensor(encode(list(DEPICTED)))
    wanted = torch.full((576, len(embeddings)), -20.0)
    wanted[:, ids] = torch.where(target[0], 20.0, -20.0)
    solved = torch.linalg.lstsq(embeddings, wanted.T).solution.T[None]
    assert alignment_loss(model, solved, target) < 1e-3 < alignment_loss(model, visual, target)


def test_nothing_is_left_on_the_processor_when_the_model_is_elsewhere():
    # The meta device has no numbers, but it refuses every mix of devices, as a GPU would.
    model = build_model(0).to("meta")
    scenes = [make_scene(1, 12)]
    visual = project(model, encode_images(model, scenes))
    loss = alignment_loss(model, visual, depicted_words(scenes).to("meta"))
    words = torch.zeros(1, 2, 5, dtype=torch.long, device="meta")
    places = torch.arange(144, device="meta")[None]
    start = torch.zeros(1, dtype=torch.long, device="meta")
    hidden = turn_hidden(model, visual, words, Places(places, start))
    assert {loss.device.type, hidden.device.type} == {"meta"}


def test_orthogonalized_updates_have_singular_values_near_one():
    update = torch.randn(3, 40, 16, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(orthogonalize(update))
    assert singular.min() > 0.5 and singular.max() < 1.3


def test_muon_refuses_vectors():
    with pytest.raises(ValueError, match="matrices"):
        Muon([torch.nn.Parameter(torch.zeros(3))])


@pytest.mark.parametrize("loss", [vision_loss, language_loss])
def test_losses_fall_on_a_repeated_batch(loss):
    stage = Stage("test", "", 30, 4, 12, (), 0.01, 2e-3, 1.0, 1.0)
    values, _ = values_on_a_repeated_batch(loss, build_model(0), stage, range(4), OPTIONS, 12)
    assert values[-1] < 0.6 * values[0], values


TINY = (
    Stage("one", "vision", 4, 2, 12, ("layers.", "lm_head"), 0.01, 1e-3, 0.5, 0.1),
    Stage(
        "two", "language", 4, 2, 12, ("vision_tower",), 0.01, 1e-3, 0.5, 0.1, tuple(OPTIONS.items())
    ),
)


def tiny_recipe(monkeypatch, stages):
    """A LLaVA miniature called "tiny" with these stages."""
    monkeypatch.setitem(MINIATURES, "tiny", MiniatureSpec("tiny", "llava", "", 576))
    monkeypatch.setitem(RECIPES, "tiny", Recipe(2, stages))


def test_a_run_repeats_bit_for_bit_and_resumes_as_if_never_stopped(tmp_path, monkeypatch):
    tiny_recipe(monkeypatch, TINY)
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(train, "LOG_EVERY", 2)
    weights, rows = run_in(tmp_path / "whole", "tiny")
    assert_same_weights(weights, run_in(tmp_path / "again", "tiny")[0])
    assert_same_weights(weights, run_in(tmp_path / "stopped", "tiny", monkeypatch, LOSSES, 3)[0])
    assert [(r["stage"], r["step"]) for r in rows] == [
        ("one", 2), ("one", 4), ("two", 2), ("two", 4),
    ]  # fmt: skip


def test_a_checkpoint_of_another_seed_is_refused(tmp_path, monkeypatch):
    tiny_recipe(monkeypatch, TINY[:1])
    train.worker(0, 1, "tiny", tmp_path, 0, "cpu", None)
    with pytest.raises(ValueError, match="seed 0 with 1 processes"):
        train.worker(0, 1, "tiny", tmp_path, 3, "cpu", None)


def test_an_unfinished_run_is_not_shipped(tmp_path, monkeypatch):
    tiny_recipe(monkeypatch, TINY)
    with pytest.raises(FileNotFoundError, match="train first"):
        finished_run(tmp_path, RECIPES["tiny"])
    train.worker(0, 1, "tiny", tmp_path, 0, "cpu", "one")
    with pytest.raises(ValueError, match="stands at step 4 of one, and the recipe ends at .* two"):
        finished_run(tmp_path, RECIPES["tiny"])
    train.worker(0, 1, "tiny", tmp_path, 0, "cpu", None)
    assert finished_run(tmp_path, RECIPES["tiny"])["step"] == 4


def test_the_time_of_a_resumed_stage_is_the_sum_of_its_parts():
    seconds = [("one", 9.0), ("two", 10.0), ("two", 30.0), ("two", 5.0), ("two", 8.0)]
    rows = [{"stage": stage, "seconds": value} for stage, value in seconds]
    assert [stage_seconds(rows, stage) for stage in TINY] == [9.0, 38.0]


def test_the_deep_miniature_has_a_decoder_of_its_own_behind_eyes_and_words_of_the_other():
    shallow, deep = RECIPES["mini-llava"], RECIPES["mini-llava-32"]
    assert (shallow.base, shallow.num_layers) == ("", 8)
    assert (deep.base, deep.num_layers) == ("mini-llava", 32)
    assert deep.first_stage >= 50, "its scenes are those of no other recipe"
    model, (base, _) = starting_model(deep, seed=0), load_miniature(deep.base)
    for name in ("vision_tower", "language_model.embed_tokens"):
        mine, taken = (one.model.get_submodule(name).state_dict() for one in (model, base))
        assert all(torch.equal(mine[key], value) for key, value in taken.items())
    one, other = (each.model.language_model.layers[0] for each in (model, base))
    assert not torch.equal(one.self_attn.q_proj.weight, other.self_attn.q_proj.weight)
    assert torch.equal(starting_model(deep, seed=0).lm_head.weight, model.lm_head.weight)

    # Visual tokens are as long as words; words and projector stay so, for nothing trains them.
    with torch.no_grad():
        visual = project(model, encode_images(model, [make_scene(5)]))
    words = model.model.language_model.embed_tokens.weight.norm(dim=-1).mean()
    assert visual.norm(dim=-1).mean().item() == pytest.approx(words.item(), rel=0.15)
    for stage in deep.stages:
        trained = train.trainable(model, stage)
        decoder = ("model.language_model.layers", "model.language_model.norm", "lm_head")
        assert trained and all(name.startswith(decoder) for name in trained)


def test_spread_layers_keep_the_function_bit_for_bit_and_the_new_ones_can_learn():
    base, deep = build_model(3, num_layers=2), build_model(0, num_layers=6)
    rest = {k: v for k, v in base.state_dict().items() if ".language_model.layers." not in k}
    deep.load_state_dict(rest, strict=False)
    spread_layers(base.model.language_model.layers, deep.model.language_model.layers)
    words = [*encode(list(BEFORE_IMAGE)), *[IMAGE] * 576, *encode("is there a red ring ?".split())]
    inputs = {"input_ids": torch.tensor([words]), "pixel_values": pixel_tensor([make_scene(7)])}
    logits = deep(**inputs).logits
    assert torch.equal(logits, base(**inputs).logits)
    logits[0, -1, 5].backward()
    for layer in deep.model.language_model.layers:
        assert layer.self_attn.o_proj.weight.grad.any() and layer.mlp.down_proj.weight.grad.any()
    five = build_model(0, num_layers=5).model.language_model.layers
    with pytest.raises(ValueError, match="cannot spread 2 layers evenly over 5"):
        spread_layers(base.model.language_model.layers, five)


@pytest.mark.parametrize("name", ["mini-llava", "mini-llava-32"])
def test_the_last_stage_asks_for_letters_and_numbers(name):
    options = dict(RECIPES[name].stages[-1].options)
    for seed in range(20):
        turns = scene_turns(Facts(make_scene(seed)), np.random.default_rng(seed), options)
        lists, asked = [[name.split("/", 1)[1] for name, *_ in part]
                        for part in (turns[:6], turns[6:])]  # fmt: skip
        assert {"choose", "confirm", "verify"} < set(lists) and len(set(lists)) == 6
        assert len(asked) == 8 and sum(name in HARD_KINDS for name in asked) >= options["hard"]


@torch.no_grad()
def test_a_blind_turn_answers_whatever_the_picture_shows(model):
    words = torch.tensor([[encode("what color is the ring ? ASSISTANT :".split())]])
    places = Places(torch.arange(3, 579)[None], torch.tensor([579]))
    images = [project(model, encode_images(model, [make_scene(seed)])) for seed in (1, 2)]
    blind, late, never = (
        [turn_hidden(model, v, words, places, blind=blind_from(model, layer)) for v in images]
        for layer in (0, 7, 8)
    )
    seeing = [turn_hidden(model, v, words, places) for v in images]
    assert torch.equal(*blind)
    assert not torch.equal(*late) and not torch.equal(late[0], seeing[0])
    assert torch.equal(never[0], seeing[0])


@torch.no_grad()
def test_the_turns_of_every_image_have_layers_of_their_own_in_which_they_see(model):
    words = torch.tensor([[encode("what color is the ring ? ASSISTANT :".split())]] * 2)
    places = Places(torch.arange(3, 579).expand(2, -1), torch.tensor([579, 579]))
    visual = project(model, encode_images(model, [make_scene(1), make_scene(2)]))
    together = torch.stack([blind_from(model, 0)[:, 0], blind_from(model, 8)[:, 0]], dim=1)
    both = turn_hidden(model, visual, words, places, blind=together)
    alone = [turn_hidden(model, visual, words, places, blind=blind_from(model, n)) for n in (0, 8)]
    assert torch.allclose(both[0], alone[0][0], atol=1e-5)
    assert torch.allclose(both[1], alone[1][1], atol=1e-5)


def test_most_scenes_are_seen_in_some_layers_only():
    blind = losses.seeing_layers(32, np.random.default_rng(0), 4000)
    first = (~blind).int().argmax(0)
    assert torch.bincount(first).tolist() == pytest.approx([800, 1200, 2000], abs=100)
    until = 32 - blind.flip(0).int().argmin(0)
    whole = until == 32
    assert whole.float().mean().item() == pytest.approx(0.4, abs=0.03)
    assert (until[~whole].min(), until[~whole].max()) == (10, 20)


def test_probes_find_where_the_shipped_miniature_looks():
    model, _ = load_miniature()
    found = probes(model, 1)
    attention, without = found["attention"], found["without_image_from"]
    (area,) = attention["area"]
    assert 0.005 < area < 0.03
    assert max(attention["naming word"][:3]) > 0.8, "it reads what it names early"
    assert attention["last token"][0] < 0.3, "which the last token cannot"
    assert len(without) == 9 and without[0] < 0.6 < 0.9 < without[-1]
