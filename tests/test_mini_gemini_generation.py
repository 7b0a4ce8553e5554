"""Mini-Gemini: batches, generation, and what the language model gets."""

from __future__ import annotations

import pytest
import torch
from tiny_mini_gemini import (
    IMAGE_TOKEN,
    NUM_VISUAL,
    row,
    small_inputs,
    small_mini_gemini,
    tiny_mini_gemini,
    tiny_mini_gemini_inputs,
)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def tiny(request):
    return tiny_mini_gemini(attention=request.param)


@pytest.fixture
def small():
    return small_mini_gemini()


def features(model, inputs):
    return model.model.get_image_features(inputs["pixel_values"], inputs["pixel_values_aux"])


def generate(model, inputs, **options):
    options = {"max_new_tokens": 6, "do_sample": False, **options}
    return model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]


def test_a_batch_equals_its_samples(tiny):
    inputs = tiny_mini_gemini_inputs()
    answers = generate(tiny, inputs)
    last = tiny(**inputs, logits_to_keep=1)
    assert last.logits.shape == (3, 1, 128)
    assert last.image_hidden_states.shape == (3, NUM_VISUAL, 64)
    for index in range(3):
        alone = row(inputs, index)
        assert torch.equal(generate(tiny, alone)[0], answers[index])


@pytest.mark.parametrize("views", ["base", "hd"])
@pytest.mark.parametrize("text", ["llama", "gemma"])
def test_small_batches_equal_their_samples(text, views):
    model = small_mini_gemini(text, views)
    inputs = small_inputs(model.config)
    answers = generate(model, inputs)
    for index in range(2):
        assert torch.equal(generate(model, row(inputs, index))[0], answers[index])


def test_generation_with_and_without_cache(tiny):
    inputs = tiny_mini_gemini_inputs()
    answers = generate(tiny, inputs)
    assert torch.equal(generate(tiny, inputs, use_cache=False), answers)


def test_a_proposed_placeholder_does_no_harm(small):
    # Prompt lookup may propose any piece of the prompt; the id is not in the vocabulary.
    cache = small(**row(small_inputs(small.config), 0)).past_key_values
    logits = small(input_ids=torch.tensor([[7, IMAGE_TOKEN]]), past_key_values=cache).logits
    assert logits.shape == (1, 2, 128) and logits.isfinite().all()


def test_beams(tiny):
    inputs = tiny_mini_gemini_inputs()
    options = {"num_beams": 3, "return_dict_in_generate": True, "output_scores": True}
    found = tiny.generate(**inputs, max_new_tokens=4, do_sample=False, **options)
    alone = tiny.generate(**row(inputs, 0), max_new_tokens=4, do_sample=False, **options)
    assert torch.equal(found.sequences[0][-4:], alone.sequences[0][-4:])
    torch.testing.assert_close(found.sequences_scores[0], alone.sequences_scores[0])


def test_pixels_go_into_the_first_forward_only(tiny):
    seen = []
    hook = tiny.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(
            (kwargs.get("pixel_values") is not None, kwargs.get("pixel_values_aux") is not None)
        ),
        with_kwargs=True,
    )
    generate(tiny, tiny_mini_gemini_inputs(), max_new_tokens=3)
    hook.remove()
    assert seen == [(True, True), (False, False), (False, False)]


def test_the_language_model_is_called_as_in_llava(tiny):
    seen = {}
    hook = tiny.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(kwargs, positional=args), with_kwargs=True
    )
    inputs = tiny_mini_gemini_inputs()
    generate(tiny, inputs, max_new_tokens=1)
    hook.remove()
    assert seen["positional"] == () and seen["use_cache"] is True
    assert torch.equal(seen["attention_mask"], inputs["attention_mask"])
    assert seen["inputs_embeds"].shape == (*inputs["input_ids"].shape, 64)
    assert seen["position_ids"] is not None and seen["past_key_values"] is not None


def test_text_alone_and_a_row_without_an_image(small):
    inputs = small_inputs(small.config)
    both = small(**inputs).logits
    ids = inputs["input_ids"].clone()
    ids[1][ids[1] == IMAGE_TOKEN] = 7
    mixed = {key: value[:1] for key, value in inputs.items() if "pixel" in key}
    got = small(input_ids=ids, attention_mask=inputs["attention_mask"], **mixed).logits
    torch.testing.assert_close(got[0], both[0], atol=1e-4, rtol=1e-4)
    text = {"input_ids": ids[1:], "attention_mask": inputs["attention_mask"][1:]}
    torch.testing.assert_close(small(**text).logits[0], got[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("placeholder", [-200, 4, 31999])
def test_any_placeholder_will_do(small, placeholder):
    inputs = small_inputs(small.config)
    want = generate(small, inputs)
    ids = inputs["input_ids"]
    ids[ids == IMAGE_TOKEN] = placeholder
    small.config.image_token_id = placeholder
    assert torch.equal(generate(small, inputs), want)


def test_placeholders_never_count_as_labels(small):
    inputs = small_inputs(small.config)
    ids = inputs["input_ids"]
    marked = ids.masked_fill(ids == IMAGE_TOKEN, -100)
    loss = small(**inputs, labels=ids).loss
    assert loss.isfinite() and loss == small(**inputs, labels=marked).loss


def test_the_towers_stay_in_eval_mode(small):
    inputs = small_inputs(small.config)
    want = features(small, inputs)
    small.train()
    assert small.training and small.model.language_model.training
    assert not small.model.vision_tower.training and not small.model.vision_tower_aux.training
    assert torch.equal(features(small, inputs), want)  # no block dropped


def test_attention_kernels_agree_and_can_be_changed():
    model = small_mini_gemini()
    inputs = small_inputs(model.config)
    want = model(**inputs, logits_to_keep=1).logits
    model.set_attn_implementation("eager")
    parts = (model.model.language_model, model.model.vision_tower)
    assert {part.config._attn_implementation for part in parts} == {"eager"}
    torch.testing.assert_close(model(**inputs, logits_to_keep=1).logits, want, atol=1e-4, rtol=1e-4)
    model.set_attn_implementation("sdpa")
    assert {part.config._attn_implementation for part in parts} == {"sdpa"}
