"""The miniature Video-LLaVA: the real forward, a run that repeats, and what is shipped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from miniature_batch import batch
from training_runs import assert_same_weights, run_in, values_on_a_repeated_batch

from sparsevlm.miniature import load_miniature
from sparsevlm.miniature.video_llava.clips import ONSETS, make_clip
from sparsevlm.miniature.video_llava.prompts import builder
from sparsevlm.miniature.video_llava.questions import samples
from sparsevlm.miniature.video_llava.vocabulary import (
    ACTIONS,
    FRAME_WORDS,
    INDEX,
    VIDEO,
    encode,
)
from sparsevlm.miniature.vocabulary import BEFORE_IMAGE
from training import train
from training.llava.vision import project
from training.packed import Places, proportional_mask, turn_hidden
from training.recipes import Recipe, Stage
from training.video_llava import losses, recipes, supervision, views
from training.video_llava.model import (
    NUM_VISUAL,
    TOKENS_PER_FRAME,
    build_config,
    build_model,
    warm_start,
)
from training.video_llava.probes import probes
from training.video_llava.vision import encode_clips, pixel_tensor

OPTIONS = {"lists": 5, "questions": 2, "background": 4, "alignment": 0.2, "every": 1}
OPTIONS |= {"frames": 2, "shuffles": 2, "patches": 2, "shows": 3}
OPTIONS |= {"both ways": 1, "clock": 0.2, "actions": 0.2, "actor": 0.2, "token_size": 1}
TURNS = ["what does the ring do ? ASSISTANT : moves left </s>", "describe the red thing ASSISTANT"]


@pytest.fixture(scope="module")
def model():
    return build_model(0, num_layers=4)


def packed_logits(model, clip, turns, tokens=NUM_VISUAL, **how):
    longest = max(map(len, turns))
    ids = torch.tensor([[encode([*t, *["<pad>"] * (longest - len(t))]) for t in turns]])
    visual = project(model, encode_clips(model, [clip]))[:, :tokens]
    how = {"places": places_of(tokens), **how}
    return model.lm_head(turn_hidden(model, visual, ids, **how))[0]


def places_of(tokens):
    return Places(torch.arange(3, 3 + tokens)[None], torch.tensor([3 + NUM_VISUAL]))


# The model


def test_the_builder_gives_what_the_training_sees():
    clips = [make_clip(3), make_clip(4)]
    questions = ["what does the ring do ?", "who stays ?"]
    inputs = builder(build_config()).inputs(questions, [c.frames for c in clips])
    expected = pixel_tensor(np.stack([c.pixels for c in clips]))
    assert torch.allclose(inputs["pixel_values_videos"], expected, atol=1e-5)
    assert (inputs["input_ids"] == VIDEO).sum(1).tolist() == [NUM_VISUAL] * 2 == [8 * 257] * 2
    assert inputs["attention_mask"][1, :3].tolist() == [0, 0, 0]
    assert inputs["input_ids"][0, :3].tolist() == encode(list(BEFORE_IMAGE))


def test_the_builder_takes_clips_only():
    frames = make_clip(3).frames
    asks = builder(build_config())
    assert asks.prompt("what does it do ?", 8) == "USER : <video> what does it do ? ASSISTANT :"
    with pytest.raises(ValueError, match="takes the frames of a video with a question, got 1"):
        asks.inputs(["a"], [frames[:1]])
    with pytest.raises(ValueError, match="contains .<video>."):
        asks.inputs(["what does the <video> do ?"], [frames])


@torch.no_grad()
def test_packed_turns_equal_the_hugging_face_forward(model):
    clip, turns = make_clip(7), [t.split() for t in TURNS]
    logits = packed_logits(model, clip, turns)
    for number, turn in enumerate(turns):
        ids = torch.tensor([[*encode(list(BEFORE_IMAGE)), *[VIDEO] * NUM_VISUAL, *encode(turn)]])
        pixels = pixel_tensor(clip.pixels)[None]
        reference = model(input_ids=ids, pixel_values_videos=pixels).logits[0, -len(turn) :]
        assert (logits[number, : len(turn)] - reference).abs().max() < 1e-4


@torch.no_grad()
def test_positions_change_at_the_layer_that_was_named(model):
    clip, turns = make_clip(7), [TURNS[0].split()]
    moved = Places(places_of(50).visual * 2, torch.tensor([200]))
    how = {"tokens": 50, "later": moved}
    plain = packed_logits(model, clip, turns, tokens=50)
    other = packed_logits(model, clip, turns, tokens=50, places=moved)
    never, between, at_once = (
        packed_logits(model, clip, turns, switch=n, **how) for n in (4, 2, 0)
    )
    assert torch.equal(never, plain) and torch.equal(at_once, other)
    assert not torch.allclose(between, plain) and not torch.allclose(between, other)


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 3])
def test_a_token_that_stands_for_three_weighs_as_much_as_three(count):
    """One layer, where equal tokens at one place are equal keys; only text looks at them."""
    model = build_model(0, num_layers=1)
    visual, ids = torch.randn(1, 5, 128), torch.tensor([[encode(TURNS[0].split())]])
    places, start = torch.arange(3, 8)[None], torch.tensor([8])
    log_size = torch.tensor([[0, 0, count, 0, 0]]).clamp(min=1).log()
    thrice = torch.tensor([0, 1, *[2] * count, 3, 4])
    one = turn_hidden(model, visual, ids, Places(places, start, log_size))
    all_of_them = turn_hidden(model, visual[:, thrice], ids, Places(places[:, thrice], start))
    unweighted = turn_hidden(model, visual, ids, Places(places, start))
    assert torch.allclose(one, all_of_them, atol=1e-5)
    assert torch.allclose(one, unweighted, atol=1e-5) == (count == 1)


def test_proportional_attention_is_causal_and_to_itself_a_token_is_one():
    mask = proportional_mask(torch.tensor([[0.0, 2.0, 3.0]]))[0, 0]
    inf = float("inf")
    assert mask.tolist() == [[0, -inf, -inf], [0, 0, -inf], [0, 2, 0]]


@torch.no_grad()
def test_a_warm_start_computes_with_the_layers_of_its_base():
    base, _ = load_miniature()
    model = warm_start(base, seed=0)
    clip, turns = make_clip(7), [TURNS[0].split()]
    every, half = (packed_logits(model, clip, turns, tokens=300, every=n) for n in (1, 2))
    assert torch.allclose(every, half, atol=1e-5)
    old = base.model.vision_tower.embeddings.position_embedding.weight[1:].unflatten(0, (24, 24))
    table = model.model.video_tower.embeddings.position_embedding.weight[1:].unflatten(0, (16, 16))
    assert torch.equal(table, old[4:20, 4:20])
    embedded = model.model.language_model.embed_tokens.weight
    assert torch.equal(embedded[INDEX["red"]], base.model.language_model.embed_tokens.weight[20])
    with pytest.raises(ValueError, match="multiple"):
        warm_start(base, seed=0, num_layers=12)


@pytest.mark.parametrize("patches", [0, 3])
def test_kept_tokens_stand_for_all_of_the_clip(patches):
    clips, rng = [make_clip(1), make_clip(2)], np.random.default_rng(0)
    kept = views.kept_tokens([views.thinned(clip, rng, patches) for clip in clips], rng, 10)
    sizes = np.exp(views.log_sizes(clips, kept))
    for clip, tokens, stands in zip(clips, kept, sizes, strict=True):
        owners, frames = views.token_owners(clip), np.arange(NUM_VISUAL) // TOKENS_PER_FRAME
        assert stands[owners[tokens] == -2].tolist() == [1] * 8
        assert round(stands[owners[tokens] == -1].sum()) == (owners == -1).sum()
        for group in {(f, o) for f, o in zip(frames, owners, strict=True) if o >= 0}:
            mine = (frames[tokens] == group[0]) & (owners[tokens] == group[1])
            of_all = (frames == group[0]) & (owners == group[1])
            assert round(stands[mine].sum()) == of_all.sum()
            assert patches or (stands[mine] == 1).all()


def test_half_of_the_clips_are_pruned_from_a_layer_on_and_half_stay_whole():
    kept = np.tile(np.arange(0, 2000, 100), (400, 1))
    log_size = np.full(kept.shape, 2.0)
    early, late, switch = losses.layer_places(kept, np.random.default_rng(0), 16, log_size)
    assert (early.log_size == 2).all() and 2 <= switch < 16
    pruned = late.visual[:, 1] == 4
    assert 150 < pruned.sum() < 250
    assert (late.log_size[pruned] == 0).all() and (late.log_size[~pruned] == 2).all()
    assert torch.equal(late.visual[~pruned], early.visual[~pruned])
    assert (late.start[pruned] == 23).all() and (late.start[~pruned] == early.start[0]).all()


def test_training_shows_every_patch_of_an_actor_and_every_class_token():
    clips = [make_clip(1), make_clip(2)]
    kept = views.kept_tokens(clips, np.random.default_rng(0), 10)
    for clip, tokens in zip(clips, kept, strict=True):
        owners = views.token_owners(clip)
        assert set(np.flatnonzero(owners != -1)) < set(tokens.tolist())
        assert (np.diff(tokens) > 0).all() and (owners[tokens] == -1).sum() >= 10
    whole = views.kept_tokens(clips, np.random.default_rng(0), 0)
    assert whole.shape == (2, NUM_VISUAL) and TOKENS_PER_FRAME == 257


def test_early_layers_have_the_positions_of_the_full_clip_and_half_of_the_rest_is_renumbered():
    kept = np.stack(
        [np.sort(np.random.default_rng(i).permutation(NUM_VISUAL)[:50]) for i in range(40)]
    )
    early, late, switch = losses.layer_places(kept, np.random.default_rng(0), 16)
    assert (early.visual.numpy() == kept + 3).all() and (early.start == 3 + NUM_VISUAL).all()
    renumbered = [v.tolist() == list(range(3, 53)) for v in late.visual]
    assert 10 < sum(renumbered) < 30 and 2 <= switch < 16
    assert late.start.tolist() == [53 if r else 3 + NUM_VISUAL for r in renumbered]


@pytest.mark.parametrize("loss", losses.LOSSES.values(), ids=losses.LOSSES)
def test_losses_fall_on_a_repeated_batch(loss):
    model = build_model(0, num_layers=9)
    stage = Stage("test", "", 30, 2, 16, ("image_tower",), 0.01, 2e-3, 1.0, 1.0)
    values, measures = values_on_a_repeated_batch(loss, model, stage, range(1), OPTIONS, 8)
    assert values[-1] < 0.95 * values[0], values
    if loss in (losses.deep_supervision_loss, losses.language_loss):
        assert {"clock", "actions", "actor"} <= measures.keys()


def test_a_decoder_that_ends_before_the_layer_that_must_tell_is_refused(model):
    with pytest.raises(ValueError, match=r"layer 7 .* has 4 layers"):
        losses.deep_supervision_loss(model, range(1), 16, OPTIONS)


@torch.no_grad()
def test_the_states_that_must_tell_are_those_of_the_hugging_face_decoder(model):
    clip, kept = make_clip(7), np.arange(0, NUM_VISUAL, 40)[None]
    visual = project(model, encode_clips(model, [clip]))[:, kept[0]]
    prefix = model.model.language_model.embed_tokens(torch.tensor([encode(list(BEFORE_IMAGE))]))
    positions = torch.cat([torch.arange(3), 3 + torch.from_numpy(kept[0])])[None]
    # Without a mask, Transformers would take every gap in the positions for a new sequence.
    states = model.model.language_model(
        inputs_embeds=torch.cat([prefix, visual], 1), position_ids=positions, use_cache=False,
        attention_mask=torch.ones_like(positions), output_hidden_states=True,
    ).hidden_states  # fmt: skip
    for layer, state in supervision.visual_states(model, visual, kept, 2):
        assert torch.allclose(state, states[layer + 1][:, 3:], atol=1e-5), layer


def test_a_clock_that_knows_the_positions_is_right_and_costs_nothing(model):
    kept = np.arange(0, NUM_VISUAL, 40)[None]
    words = model.model.language_model.embed_tokens.weight[encode(list(FRAME_WORDS))]
    knowing = words[kept // TOKENS_PER_FRAME] * 1000
    loss, measures = supervision.clock_loss(model, knowing, kept)
    assert measures == {"clock": (kept.size, kept.size)} and loss < 0.01
    loss, measures = supervision.clock_loss(model, knowing.roll(20, 1), kept)
    assert measures["clock"][0] < kept.size / 2 and loss > 1


@pytest.mark.parametrize("seed", range(6))
def test_patches_tell_what_their_actor_has_done_so_far(seed):
    clip = make_clip(seed)
    told = [t.reshape(8, 257) for t in (supervision.patch_actions(clip), views.token_owners(clip))]
    flashes = supervision.patch_flashes(clip).reshape(8, 257)
    for frame, (actions, owners) in enumerate(zip(*told, strict=True)):
        for index, actor in enumerate(clip.actors):
            white = [state is not None and state[1] == "white" for state in actor.states]
            mine, so_far = owners == index, sum(white[: frame + 1])
            waiting = actor.action in ONSETS and frame < actor.when
            waiting |= actor.action == "flashes" and not so_far
            wanted = ACTIONS.index("stays" if waiting else actor.action) if frame else -1
            assert (actions[mine] == wanted).all()
            assert (flashes[frame, mine] == (so_far - 1 if frame else -1)).all()
        assert (actions[owners < 0] == -1).all() and (flashes[frame, owners < 0] == -1).all()


def test_the_word_of_an_action_finds_the_last_patches_of_its_actor_and_nothing_else():
    model = build_model(0)
    clip, kept = make_clip(7), np.arange(NUM_VISUAL)[None]
    actions = supervision.patch_actions(clip)
    found = (actions >= 0) & (kept[0] >= 6 * TOKENS_PER_FRAME)
    words = model.model.language_model.embed_tokens.weight[encode(list(ACTIONS))]
    knowing = torch.where(torch.from_numpy(found)[:, None], words[actions] * 1000, -words.sum(0))
    loss, measures = supervision.actor_loss(model, knowing[None], kept, [clip])
    assert measures["actor"][0] == NUM_VISUAL > 4 * found.sum() > 0
    wrong, measures = supervision.actor_loss(model, knowing[None].roll(257, 1), kept, [clip])
    assert wrong > loss and measures["actor"][0] < NUM_VISUAL


def test_shuffled_frames_keep_what_they_show():
    clip, order = make_clip(3), np.array([7, 0, 6, 1, 5, 2, 4, 3])
    moved = views.reordered(clip, order)
    assert (moved.pixels[0] == clip.pixels[7]).all()
    assert moved.actors[0].states[2] == clip.actors[0].states[6]
    thin = views.thinned(moved, np.random.default_rng(0), 2)
    for frame in range(8):
        for actor in range(len(clip.actors)):
            mine = thin.owners[frame] == actor
            assert mine.sum() == min(2, (moved.owners[frame] == actor).sum())
            assert (moved.owners[frame][mine] == actor).all()


FROZEN = ("image_tower", "video_tower")
TINY = (
    Stage("one", "vision", 2, 1, 16, ("image_tower", "layers."), 0.01, 1e-3, 0.5, 0.1,
          (("frames", 1),)),
    Stage("two", "language", 4, 1, 16, FROZEN, 0.01, 1e-3, 0.5, 0.1, tuple(OPTIONS.items())),
)  # fmt: skip


def test_a_run_repeats_bit_for_bit_and_resumes_as_if_never_stopped(tmp_path, monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "mini-video-llava", Recipe(16, TINY, base="mini-llava"))
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(train, "LOG_EVERY", 2)
    weights, rows = run_in(tmp_path / "whole", "mini-video-llava")
    how = "mini-video-llava", monkeypatch, losses.LOSSES, 3
    assert_same_weights(weights, run_in(tmp_path / "stopped", *how)[0])
    assert [(r["stage"], r["step"]) for r in rows] == [("one", 2), ("two", 2), ("two", 4)]


def test_gradients_are_averaged_where_there_are_any(tmp_path):
    used, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    used.grad = torch.tensor([1.0, -3.0])
    train.dist.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1
    )
    try:
        train.average_gradients([unused, used])
    finally:
        train.dist.destroy_process_group()
    assert unused.grad is None and used.grad.tolist() == [1.0, -3.0]


def test_probes_of_an_untrained_model_find_no_more_than_chance(model):
    found = probes(model, 1)
    attention = found["attention"]
    assert len(attention["naming word"]) == 4
    assert max(attention["naming word"]) < 4 * attention["area"][0] < 0.5
    assert len(found["without_image_from"]) == 5


# What is shipped


@pytest.fixture(scope="module")
def shipped():
    return load_miniature("mini-video-llava")


@torch.inference_mode()
def test_generate_answers_what_the_packed_forward_answers_and_mostly_right(shipped):
    model, builder = shipped
    drawn = [s for s in samples("msvd", 12, 5) if s.split != "who"][:3]
    inputs = batch("mini-video-llava", builder, drawn)
    output = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    texts = builder.decode(output[:, inputs["input_ids"].shape[1] :])
    for sample, text in zip(drawn, texts, strict=True):
        words = [*sample.question.split(), "ASSISTANT", ":", *text.split(), "</s>"]
        start = words.index(":")
        best = packed_logits(model, make_clip(sample.seed), [words])[0].argmax(-1).tolist()
        assert best[start : len(words) - 1] == encode(words[start + 1 :])
    assert sum(t == s.answer for t, s in zip(texts, drawn, strict=True)) >= 2, texts
