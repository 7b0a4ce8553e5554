"""A conversation: every question as if all had been asked anew, and the images encoded once."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from tiny_checkpoints import picture, save_tiny
from transformers import DynamicCache

import sparsevlm as sv
from sparsevlm.evaluation.backends import backend_of
from sparsevlm.miniature.scenes import make_scene

FIRST, SECOND = "what shape is the pink thing ?", "what color is the circle ?"
TOWERS = "vision_tower", "visual", "image_tower", "video_tower"


def loaded(name, method="sparsevlm", tokens=64):
    backend = backend_of(name)
    model, builder = backend.load(name, dtype="float32", attention="sdpa", device="cpu")
    return model, builder, backend.sizes(name).pruner(method, tokens)


def shown(name):
    if "video" in name:
        return [make_scene(seed).image for seed in range(6, 14)]
    return [make_scene(6).image]


def watched(model):
    """Calls of the first convolution of every vision tower, by a hook on it."""
    calls = []
    for name in TOWERS:
        for part in getattr(model.model, name, torch.nn.Module()).modules():
            if isinstance(part, torch.nn.Conv2d | torch.nn.Conv3d):
                part.register_forward_hook(lambda *_: calls.append(1))
    return calls


def by_hand(model, builder, pruner, images, ids, **options):
    """Ids of a whole prompt, its pixels with it, in a block of their own: answer, logits, trace."""
    first = builder.inputs([FIRST], [images])
    kinds = first.pop("mm_token_type_ids", None)
    inputs = {**first, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if kinds is not None:
        more = ids.shape[1] - kinds.shape[1]
        inputs["mm_token_type_ids"] = torch.nn.functional.pad(kinds, (0, more))
    with torch.inference_mode(), sv.prune(model, pruner, **options) as trace:
        output = model.generate(
            **inputs, max_new_tokens=5, do_sample=False, pad_token_id=0, output_logits=True,
            return_dict_in_generate=True,
        )  # fmt: skip
    return output.sequences[0, ids.shape[1] :].tolist(), output.logits, trace.samples


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("mini-llava", "sparsevlm"), ("mini-llava", "visionzip"), ("mini-qwen2-vl", "sparsevlm"),
        ("mini-video-llava", "sparsevlm"), ("mini-gemini", "sparsevlm"),
    ],
)  # fmt: skip
def test_a_further_question_is_the_whole_conversation_asked_anew(name, method):
    """Bit for bit: tokens, probabilities, survivors and their scores. The tower runs once."""
    model, builder, pruner = loaded(name, method, 200 if "video" in name else 64)
    images, asked = shown(name), [FIRST, SECOND, FIRST]
    if "video" in name:
        asked = ["what does it do ?", "what color is it ?", "what does it do ?"]
    calls = watched(model)
    with sv.Conversation(model, builder, pruner, images) as chat:
        answers = [chat.ask(text, max_new_tokens=5, probabilities=True) for text in asked]
    assert calls == [1] and chat.answers == answers
    ids = builder.inputs(asked[:1], [images])["input_ids"]
    for number, (text, answer) in enumerate(zip(asked, answers, strict=True)):
        options = {}
        if number:
            said = [token for token in answers[number - 1].token_ids if token not in (0, 2)]
            words = [*said, 2, *builder.further(text)[1]]
            options["question_tokens"] = len(words) - len(said) - 1
            ids = torch.cat([ids, torch.tensor([words])], 1)
        assert list(answer.input_ids) == ids[0].tolist()
        tokens, logits, samples = by_hand(model, builder, pruner, images, ids, **options)
        assert list(answer.token_ids) == tokens
        steps = zip(logits, tokens, answer.probabilities, strict=True)
        assert all(step.softmax(-1)[0, token].item() == chance for step, token, chance in steps)
        assert list(answer.traces) == samples
    assert len(calls) == 4, "asked anew by hand, it ran each time"
    if method == "sparsevlm":  # its survivors are those of the question
        assert answers[0].trace.stages[-1].kept != answers[1].trace.stages[-1].kept


def test_the_text_of_a_conversation():
    model, builder, pruner = loaded("mini-llava")
    with sv.Conversation(model, builder, pruner, shown("mini-llava")) as chat:
        first, second = chat.ask(FIRST), chat.ask(SECOND)
    assert (first.text, first.num_before) == ("square", second.num_before)
    assert second.prompt == f"{first.prompt}square</s>USER : {SECOND} ASSISTANT :"
    assert second.words[-len(SECOND.split()) - 4 :][:2] == ("USER", ":")


@pytest.mark.parametrize("name", ["mini-llava", "mini-qwen2-vl"])
def test_on_what_survived(name):
    """The kept cache of the first question, and its trace, which counts the questions."""
    model, builder, pruner = loaded(name)
    images, calls = shown(name), watched(model)
    with sv.Conversation(model, builder, pruner, images, again="survivors") as chat:
        answers = [chat.ask(text, max_new_tokens=5) for text in (FIRST, SECOND, FIRST)]
    assert calls == [1]
    assert [one.trace.turns for one in answers] == [1, 2, 3]
    assert len({str(one.trace.stages) for one in answers}) == 1
    inputs = builder.inputs([FIRST], [images])
    how = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    with torch.inference_mode(), sv.prune(model, pruner):
        cache = DynamicCache(config=model.get_decoder().config)
        model.generate(**inputs, past_key_values=cache, **how)
        ids = torch.tensor([answers[1].input_ids])
        whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        output = model.generate(**whole, past_key_values=cache, **how)
    assert output[0, ids.shape[1] :].tolist() == list(answers[1].token_ids)


def test_several_images_and_a_question_that_fails(tmp_path):
    save_tiny("llava", tmp_path)
    model, builder, pruner = loaded(str(tmp_path), tokens=20)
    images = sv.Images([picture(30, 20), picture(20, 30)])
    with sv.Conversation(model, builder, pruner, images) as chat:
        chat.ask("Same?", max_new_tokens=2)
        with pytest.raises(ValueError, match="the question is empty"):
            chat.ask(" ")
        second = chat.ask("Why?", max_new_tokens=2)
    assert len(chat.answers) == len(second.traces) == 2
    words = second.trace.stages[0].raters
    assert min(words) >= len(second.words) - len(builder.further("Why?")[1])


def test_what_a_conversation_cannot_do():
    model, builder, pruner = loaded("mini-llava")
    image = [Image.new("RGB", (20, 20))]
    with pytest.raises(ValueError, match="must be .afresh. or .survivors., got 'anew'"):
        sv.Conversation(model, builder, pruner, image, again="anew")
    chat = sv.Conversation(model, builder, pruner, image)
    with pytest.raises(RuntimeError, match="ask inside its block"):
        chat.ask(FIRST)
    merging = loaded("mini-llava", "tome")[2]
    with sv.Conversation(model, builder, merging, image, again="survivors") as chat:
        chat.ask(FIRST, max_new_tokens=2)
        with pytest.raises(ValueError, match="layer 0"):
            chat.ask(SECOND, max_new_tokens=2)
    with sv.Conversation(model, builder, pruner, image, again="survivors") as chat:
        with pytest.raises(ValueError):
            chat.ask(FIRST, max_new_tokens=2, prefill_chunk_size=5)
        assert chat.ask(FIRST, max_new_tokens=2).trace.turns == 1
    with sv.prune(model, pruner):
        pass  # no block is left open
