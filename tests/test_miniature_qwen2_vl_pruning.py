"""The miniature Qwen2-VL under pruners, and its shipped weights."""

from __future__ import annotations

import pytest
import torch
from miniature_batch import batch

from sparsevlm import prune
from sparsevlm.methods import make_pruner
from sparsevlm.miniature import load_miniature
from sparsevlm.miniature.qwen2_vl.images import make_image
from sparsevlm.miniature.qwen2_vl.prompts import builder as builder_of
from sparsevlm.miniature.qwen2_vl.questions import samples
from sparsevlm.miniature.vocabulary import encode
from training.packed import Places, turn_hidden
from training.qwen2_vl.model import AROUND, BEFORE_IDS, build_config, build_model
from training.qwen2_vl.probes import probes
from training.qwen2_vl.vision import image_positions, merge, tower_features

FIRST = len(BEFORE_IDS)


@pytest.fixture(scope="module")
def model():
    return build_model(0)


@pytest.fixture(scope="module")
def builder():
    return builder_of(build_config())


METHODS = ("sparsevlm", "fastv", "random")
QUESTIONS = ("what color is the circle ?", "is there a red ring in the image ?")


@torch.inference_mode()
def answer(model, builder, images, questions, pruner, new_tokens: int = 2):
    inputs = builder.inputs(questions[: len(images)], [[p.image] for p in images])
    with prune(model, pruner) as trace:
        output = model.generate(
            **inputs, max_new_tokens=new_tokens, do_sample=False, eos_token_id=None
        )
    return output[:, inputs["input_ids"].shape[1] :], trace.samples


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore:positions=:UserWarning")
def test_pictures_of_several_sizes_are_pruned_in_one_batch_as_alone(model, builder, method):
    images = [make_image(1, 10), make_image(2, 14)]
    pruner = make_pruner(method, tokens=60, num_layers=8, num_visual=144)
    together, traces = answer(model, builder, images, QUESTIONS, pruner)
    for number, image in enumerate(images):
        alone, (trace,) = answer(model, builder, [image], [QUESTIONS[number]], pruner)
        assert torch.equal(together[number], alone[0])
        assert traces[number].num_visual == image.patch_objects.size
        assert traces[number].tokens_out == trace.tokens_out
        assert abs(trace.tokens_out[-1] - traces[0].tokens_out[-1]) <= 3, "kept whatever the size"


@pytest.mark.filterwarnings("ignore:positions=:UserWarning")
def test_a_picture_with_fewer_tokens_than_a_cut_keeps_loses_next_to_nothing(model, builder):
    images = [make_image(1, 8), make_image(2, 20)]
    pruner = make_pruner("random", tokens=150, num_layers=8, num_visual=400)
    _, (small, large) = answer(model, builder, images, QUESTIONS, pruner, new_tokens=1)
    first = pruner.stages[0].keep
    assert small.num_visual < first < large.num_visual
    assert small.tokens_out[0] >= small.num_visual - 1
    assert large.tokens_out[0] == first


@pytest.fixture(scope="module")
def shipped():
    return load_miniature("mini-qwen2-vl")


@torch.inference_mode()
def test_shipped_answers_are_right_and_those_of_the_fast_forward(shipped):
    model, builder = shipped
    drawn = [s for name, n in (("mmbench", 4), ("pope", 2), ("textvqa", 2))
               for s in samples(name, n, 2)]  # fmt: skip
    inputs = batch("mini-qwen2-vl", builder, drawn)
    output = model.generate(**inputs, max_new_tokens=2, do_sample=False)
    said = builder.decode(output[:, inputs["input_ids"].shape[1] :])
    assert sum(a == s.answer for a, s in zip(said, drawn, strict=True)) >= len(drawn) - 1
    for sample, word in list(zip(drawn, said, strict=True))[::3]:
        image = make_image(sample.seed)
        rows, columns = image.patch_objects.shape
        visual = merge(model, tower_features(model, [image]))[None]
        turn = torch.tensor([[encode([*sample.question.split(), "ASSISTANT", ":"])]])
        start = torch.tensor([FIRST + max(rows, columns)])
        places = Places(image_positions(rows, columns), start)
        hidden = turn_hidden(model, visual, turn, places, **AROUND)
        assert builder.decode(model.lm_head(hidden[0, 0, -1:]).argmax(-1)) == [word]


def test_the_shipped_words_look_at_what_they_name(shipped):
    model, _ = shipped
    try:
        found = probes(model.requires_grad_(False), 1)
    finally:
        model.set_attn_implementation("sdpa")
    attention, without = found["attention"], found["without_image_from"]
    (area,) = attention["area"]
    assert 0.002 < area < 0.02
    assert max(attention["naming word"]) > 0.5
    assert len(without) == 9 and without[0] < 0.7 < 0.85 < without[-1]
