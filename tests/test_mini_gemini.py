"""Mini-Gemini: tensor by tensor against a plain reference."""

from __future__ import annotations

import numpy as np
import pytest
import reference_mini_gemini as reference
import torch
from PIL import Image
from tiny_mini_gemini import row, small_config, small_inputs, small_mini_gemini
from torch.nn import functional as F

from sparsevlm.models.mini_gemini.checkpoint import official_name
from sparsevlm.models.mini_gemini.vision import pyramid, windows
from sparsevlm.models.prompts import prompt_builder
from sparsevlm.models.prompts.clip import clip_pixels, pad_to_square
from sparsevlm.models.prompts.mini_gemini import low_pixels

KINDS = [("llama", "base"), ("llama", "hd"), ("gemma", "base")]
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def case(request):
    """A model, its weights under official names, and one sample."""
    text, views = request.param
    model = small_mini_gemini(text, views)
    weights = {official_name(name): weight for name, weight in model.state_dict().items()}
    return model, weights, row(small_inputs(model.config), 1)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def picture(width: int, height: int) -> Image.Image:
    colours = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(colours)


def low_of(inputs: dict) -> list[torch.Tensor]:
    return list(inputs["pixel_values"].reshape(-1, 3, 28, 28))


# --- Pictures --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(90, 61), (40, 77), (64, 64)])
@pytest.mark.parametrize("views", ["base", "hd"])
def test_pictures(size, views):
    config, image = small_config(views=views), picture(*size)
    square = reference.padded(np.asarray(image))
    assert np.array_equal(np.asarray(pad_to_square(image)), square)
    aux = reference.aux_image(square, config.image_size_aux)
    torch.testing.assert_close(
        clip_pixels([image], config.image_size_aux, "pad")[0], aux, atol=1e-5, rtol=0
    )
    low = torch.stack(reference.low_images(aux, 28, config.image_grid))
    got = low_pixels(aux[None], config)[0]
    assert got.shape == ((5, 3, 28, 28) if views == "hd" else (3, 28, 28))
    torch.testing.assert_close(got.reshape(-1, 3, 28, 28), low, atol=1e-4, rtol=0)


def test_pictures_cut_out_instead_of_padded():
    config = small_config()
    config.image_aspect_ratio = "square"
    builder = prompt_builder("mini_gemini", config, None)
    image = picture(128, 64)
    middle = reference.aux_image(np.asarray(image)[:, 32:96], 64)
    torch.testing.assert_close(clip_pixels([image], 64, builder.fit)[0], middle, atol=1e-5, rtol=0)


# --- Towers and mining -----------------------------------------------------------------------


def test_clip_tokens(case):
    model, weights, inputs = case
    clip = reference.part(weights, "model.vision_tower.vision_tower.vision_model.")
    want = torch.stack([reference.clip_tokens(clip, image, 4) for image in low_of(inputs)])
    torch.testing.assert_close(model.model._clip(torch.stack(low_of(inputs))), want, **CLOSE)


def test_stages_and_pyramid(case):
    model, weights, inputs = case
    aux = inputs["pixel_values_aux"]
    want = reference.convnext_stages(reference.part(weights, "model.vision_tower_aux."), aux[0])
    tower = model.model.vision_tower_aux
    got = tower(aux, output_hidden_states=True).hidden_states[1:]
    assert [len(stage[0]) for stage in got] == [8, 16, 24, 32]
    for stage, plain in zip(got, want, strict=True):
        torch.testing.assert_close(stage[0], plain, **CLOSE)
    torch.testing.assert_close(tower.pyramid(aux)[0], reference.pyramid(want), **CLOSE)


def test_pyramid_keeps_the_type_and_computes_in_float32(monkeypatch):
    seen = []
    real = F.interpolate
    monkeypatch.setattr(F, "interpolate", lambda x, **how: seen.append(x.dtype) or real(x, **how))
    stages = [torch.randn(1, 2, 8, 8).bfloat16(), torch.randn(1, 3, 4, 4).bfloat16()]
    got = pyramid(stages)
    assert seen == [torch.float32]
    assert got.dtype == torch.bfloat16 and torch.equal(got[:, :2], stages[0])
    want = real(stages[1].float(), size=(8, 8), mode="bilinear").bfloat16()
    assert torch.equal(got[:, 2:], want)


def test_windows_are_those_of_unfold():
    aux = torch.arange(2 * 3 * 12 * 12).float().reshape(2, 3, 12, 12)
    plain = F.unfold(aux, kernel_size=3, stride=3).reshape(2, 3, 9, 16)
    assert torch.equal(windows(aux, 16), plain.permute(0, 3, 2, 1))


def test_mining(case):
    model, weights, inputs = case
    tokens, aux = torch.randn(1, 16, 32), torch.randn(1, 80, 16, 16)
    want, attention = reference.mined(reference.part(weights, "model."), tokens[0], aux[0])
    torch.testing.assert_close(model.model.mining(tokens, aux)[0], want, **CLOSE)
    torch.testing.assert_close(attention.sum(1), torch.ones(16))
    assert attention.max() > 0.3  # far from flat, so that keys and order matter


def test_visual_tokens(case):
    model, weights, inputs = case
    want = reference.visual_tokens(
        weights, model.config, low_of(inputs), inputs["pixel_values_aux"][0]
    )
    got = model.model.get_image_features(inputs["pixel_values"], inputs["pixel_values_aux"])
    assert got.shape == (1, model.config.num_visual, 64)
    torch.testing.assert_close(got[0], want, **CLOSE)


# --- The whole model -------------------------------------------------------------------------


def official_run(model, weights, inputs):
    """Language model and its input, from the reference alone."""
    config = model.config
    ids = inputs["input_ids"][0].tolist()
    place = ids.index(config.image_token_id)
    short = [*ids[:place], -200, *ids[place + config.num_visual :]]
    visual = reference.visual_tokens(weights, config, low_of(inputs), inputs["pixel_values_aux"][0])
    embeddings = reference.spliced(weights, config.text_config, short, place, visual)
    return reference.language_model(weights, config.text_config), embeddings


def test_embeddings_logits_and_answer(case):
    model, weights, inputs = case
    plain, embeddings = official_run(model, weights, inputs)
    seen = {}
    hook = model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(kwargs), with_kwargs=True
    )
    got = model(**inputs, use_cache=False).logits
    hook.remove()
    torch.testing.assert_close(seen["inputs_embeds"], embeddings, atol=1e-3, rtol=1e-4)
    want = plain(inputs_embeds=embeddings).logits
    torch.testing.assert_close(got, want, atol=2e-3, rtol=1e-3)
    answer = model.generate(**inputs, max_new_tokens=5, do_sample=False)
    prompt = inputs["input_ids"].shape[1]
    assert answer[0, prompt:].tolist() == reference.greedy(plain, embeddings, 5)


def test_float16_is_near_float32(case):
    model, _, inputs = case
    want = model.model.get_image_features(inputs["pixel_values"], inputs["pixel_values_aux"])
    half = small_mini_gemini(
        model.config.text_config.model_type, "hd" if model.config.image_global else "base"
    ).half()
    got = half.model.get_image_features(inputs["pixel_values"], inputs["pixel_values_aux"])
    assert got.dtype == torch.float16
    assert (got - want).std() < 0.01 * want.std()
