"""The pruned model as other harnesses get it; what needs none of them."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch
from miniature_batch import batch
from PIL import Image
from tiny_checkpoints import picture, save_tiny

import sparsevlm as sv
from sparsevlm.evaluation.paths import ROOT
from sparsevlm.integrations.answering import (
    Answerer,
    cut_at,
    generation_of,
    media_of,
    size_of,
)
from sparsevlm.miniature.questions import benchmark_samples
from sparsevlm.miniature.scenes import make_scene
from sparsevlm.miniature.weights import load_miniature
from sparsevlm.models.template import Images

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

# Answering


def direct(samples, method, tokens):
    """The miniature's answers by its own builder."""
    model, builder = load_miniature("mini-llava")
    pruner = sv.make_pruner(method, tokens=tokens, num_layers=8, num_visual=576)
    inputs = batch("mini-llava", builder, samples)
    with torch.inference_mode(), sv.prune(model, pruner) as trace:
        output = model.generate(**inputs, do_sample=False, max_new_tokens=8)
    texts = builder.decode(output[:, inputs["input_ids"].shape[1] :])
    return texts, trace.samples[0].tokens_out


@pytest.fixture(scope="module")
def samples():
    return benchmark_samples("pope", 12, 0)


def test_a_miniature_answers_as_in_the_suite(samples):
    want, tokens_out = direct(samples, "sparsevlm", 64)
    answerer = Answerer("mini-llava", method="sparsevlm", tokens=64, device="cpu")
    scenes = [[make_scene(sample.seed).image] for sample in samples]
    got = answerer.answer([sample.question for sample in samples], scenes, max_new_tokens=8)
    assert got == want and set(got) == {"yes", "no"}
    assert answerer.counts == [(576, pytest.approx(sum(tokens_out) / len(tokens_out)))] * 12


def test_a_checkpoint_is_asked_as_the_papers_scripts_ask(tmp_path):
    save_tiny("llava", tmp_path)
    answerer = Answerer(str(tmp_path), tokens=64, device="cpu", dtype="float32", recycle=0.0)
    assert answerer.pruner.recycle == 0.0
    prompts = answerer.builder.prompt("Why?")
    assert prompts.startswith("A chat between a curious user") and "<image>\nWhy?" in prompts
    answers = answerer.answer(["Why?", "Who?"], [[picture(30, 20)], []], max_new_tokens=2)
    assert len(answers) == 2 and len(answerer.counts) == 1  # the second question has no picture


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("mini-llava", {}, "name the budget of 'sparsevlm'"),
        ("mini-llava", {"tokens": 64, "quantization": "4bit"}, "leave quantization out"),
        ("llava-7b", {"tokens": 64, "methods": 1}, "sparsevlm has no option methods"),
        ("llava-7b", {"tokens": 64, "method": "sparse"}, "unknown method 'sparse'"),
    ],
)
def test_what_cannot_be_set_up_is_refused_before_anything_is_read(name, options, match):
    with pytest.raises(ValueError, match=match):
        Answerer(name, device="cpu", **options)


def test_a_miniature_wants_one_picture():
    answerer = Answerer("mini-llava", method="dense", device="cpu")
    with pytest.raises(ValueError, match="takes one image with a question"):
        answerer.answer(["is there a ring ?"], [[]])


def test_visuals_of_a_task(tmp_path):
    one, video = Image.new("L", (3, 2)), str(tmp_path)
    for number in range(3):
        Image.new("RGB", (3, 2)).save(tmp_path / f"{number}.png")
    for visuals, question, count, several in (
        ([], "a", 0, False), ([one], "a", 1, False), ([one], "is <image> red ?", 1, True),
        ([one, one], "a", 2, True), ([video], "a", 8, False),
    ):  # fmt: skip
        media = media_of(visuals, question)
        assert (len(media), isinstance(media, Images)) == (count, several)
        assert all(image.mode == "RGB" for image in media)
    for visuals in ([video, one], [one, video, one], [video, video]):
        with pytest.raises(ValueError, match="of question 3 .* videos and .* takes one video, or"):
            media_of(visuals, "a", "of question 3")
    with pytest.raises(TypeError, match="a picture or the path of a video, got .*dict"):
        media_of([{"bytes": b""}], "a")


@pytest.mark.parametrize("family", ["llava", "llava_next", "qwen2_vl", "video_llava"])
def test_several_pictures_are_all_shown_and_pruned_each_for_itself(tmp_path, family):
    """In a batch with a question about one; against the model's own call, and beams."""
    save_tiny(family, tmp_path)
    answerer = Answerer(str(tmp_path), tokens=20, device="cpu", dtype="float32")
    asked = ["Same?", "Is <image> like <image>?", "Why?"]
    shown = [Images([picture(30, 20), picture(20, 30)])] * 2 + [[picture(30, 20)]]
    got = answerer.answer(asked, shown, max_new_tokens=3)
    model, builder = answerer.model, answerer.builder
    inputs = builder.inputs(asked, shown)
    with torch.inference_mode(), sv.prune(model, answerer.pruner) as trace:
        output = model.generate(**inputs, max_new_tokens=3, do_sample=False, pad_token_id=0)
    assert got == builder.decode(output[:, inputs["input_ids"].shape[1] :])
    assert [one.sample for one in trace.samples] == [0, 0, 1, 1, 2]
    totals = [sum(s.num_visual for s in trace.samples if s.sample == row) for row in range(3)]
    token = builder.config.image_token_id
    assert totals == (inputs["input_ids"] == token).sum(1).tolist()
    left = [sum(s.tokens_out[-1] for s in trace.samples if s.sample == row) for row in range(3)]
    assert [count for count, _ in answerer.counts] == totals
    means = [
        sum(sum(s.tokens_out) / len(s.tokens_out) for s in trace.samples if s.sample == row)
        for row in range(3)
    ]
    assert [mean for _, mean in answerer.counts] == pytest.approx(means)
    assert left[0] > left[2]
    assert len(answerer.answer(asked, shown, max_new_tokens=2, num_beams=2)) == 3
    with pytest.raises(ValueError, match="3 questions got 6 answers; leave num_return_sequences"):
        answerer.answer(asked, shown, max_new_tokens=2, num_beams=2, num_return_sequences=2)


def test_a_model_that_takes_one_picture_says_so(tmp_path):
    save_tiny("mini_gemini", tmp_path)
    answerer = Answerer(str(tmp_path), method="dense", device="cpu", dtype="float32")
    with pytest.raises(ValueError, match="one image with a question, got 2 images; ask about each"):
        answerer.answer(["Same?"], [Images([picture(9, 9)] * 2)])


# Settings of a task


def test_generation_is_greedy_unless_a_temperature_is_given():
    pope = {"max_new_tokens": 128, "temperature": 0, "top_p": 1.0, "num_beams": 1, "until": ["\n"]}
    assert generation_of(pope) == {"max_new_tokens": 128, "num_beams": 1}
    warm = {"temperature": 0.2, "top_p": 0.9}
    assert generation_of(warm) == warm | {"max_new_tokens": 1024, "num_beams": 1, "do_sample": True}
    assert "top_p" not in generation_of({"temperature": 0.2, "top_p": None})
    assert "do_sample" not in generation_of({"temperature": 0.2, "do_sample": False})  # MM-Vet's


def test_stop_strings_end_an_answer_but_not_the_one_of_every_task():
    assert cut_at(" yes\n\nIndeed. ASSISTANT: no", ["\n\n", "ASSISTANT:"]) == "yes\n\nIndeed."
    assert cut_at("a b", "b") == "a" and cut_at(" a ", None) == "a" and cut_at("a", [""]) == "a"


@pytest.mark.parametrize("size", ["auto", "0", 1.5, -1])
def test_a_batch_size_is_a_number(size):
    assert size_of("4") == size_of(4) == 4
    with pytest.raises(ValueError, match="must be a positive number"):
        size_of(size)


def test_lmms_eval_finds_the_model_by_an_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["lmms_eval.models"]["sparsevlm"].partition(":")
    assert callable(getattr(import_module(module), name))
    (pin,) = project["optional-dependencies"]["lmms-eval"]
    assert pin == "lmms-eval==0.7.3"
