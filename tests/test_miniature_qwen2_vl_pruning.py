"""The miniature Qwen2-VL under pruners, and its shipped weights."""

from __future__ import annotations

import pytest
import torch
from miniature_batch import batch

from sparsevlm import prune
from sparsevlm.methods import make_pruner
from sparsevlm.miniature import load_miniature
from sparsevlm.miniature.qwen2_vl import prompts
from sparsevlm.miniature.qwen2_vl.model import build_config, build_model
from sparsevlm.miniature.qwen2_vl.pictures import make_picture
from sparsevlm.miniature.qwen2_vl.prompts import BEFORE, encode
from sparsevlm.miniature.qwen2_vl.questions import samples
from training.qwen2_vl.packed import turn_hidden
from training.qwen2_vl.probes import accuracy_without_image_from, attention_on_target
from training.qwen2_vl.vision import merge, picture_positions, tower_features

FIRST = len(BEFORE)


@pytest.fixture(scope="module")
def model():
    return build_model(0)


@pytest.fixture(scope="module")
def builder():
    return prompts.builder(build_config())


METHODS = ("sparsevlm", "fastv", "random")
QUESTIONS = ("what color is the circle ?", "is there a red ring in the image ?")


@torch.inference_mode()
def answer(model, builder, pictures, questions, pruner, new_tokens: int = 2):
    inputs = builder.inputs(questions[: len(pictures)], [[p.image] for p in pictures])
    with prune(model, pruner) as trace:
        output = model.generate(
            **inputs, max_new_tokens=new_tokens, do_sample=False, eos_token_id=None
        )
    return output[:, inputs["input_ids"].shape[1] :], trace.samples


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore:positions=:UserWarning")
def test_pictures_of_several_sizes_are_pruned_in_one_batch_as_alone(model, builder, method):
    pictures = [make_picture(1, 10), make_picture(2, 14)]
    pruner = make_pruner(method, tokens=60, num_layers=8, num_visual=144)
    together, traces = answer(model, builder, pictures, QUESTIONS, pruner)
    for number, picture in enumerate(pictures):
        alone, (trace,) = answer(model, builder, [picture], [QUESTIONS[number]], pruner)
        assert torch.equal(together[number], alone[0])
        assert traces[number].num_visual == picture.patch_objects.size
        assert traces[number].tokens_out == trace.tokens_out
        assert abs(trace.tokens_out[-1] - traces[0].tokens_out[-1]) <= 3, "kept whatever the size"


@pytest.mark.filterwarnings("ignore:positions=:UserWarning")
def test_a_picture_with_fewer_tokens_than_a_cut_keeps_loses_next_to_nothing(model, builder):
    pictures = [make_picture(1, 8), make_picture(2, 20)]
    pruner = make_pruner("random", tokens=150, num_layers=8, num_visual=400)
    _, (small, large) = answer(model, builder, pictures, QUESTIONS, pruner, new_tokens=1)
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
        picture = make_picture(sample.seed)
        rows, columns = picture.patch_objects.shape
        visual = merge(model, tower_features(model, [picture]))[None]
        turn = torch.tensor([[encode([*sample.question.split(), "ASSISTANT", ":"])]])
        start = torch.tensor([FIRST + max(rows, columns)])
        hidden = turn_hidden(model, visual, picture_positions(rows, columns), turn, start)
        assert builder.decode(model.lm_head(hidden[0, 0, -1:]).argmax(-1)) == [word]


def test_the_shipped_words_look_at_what_they_name(shipped):
    model, _ = shipped
    try:
        model.set_attn_implementation("eager")
        attention = attention_on_target(model.requires_grad_(False), 1)
    finally:
        model.set_attn_implementation("sdpa")
    (area,) = attention["area"]
    assert 0.002 < area < 0.02
    assert max(attention["naming word"]) > 0.5
    without = accuracy_without_image_from(model, 1)
    assert len(without) == 9 and without[0] < 0.7 < 0.85 < without[-1]
