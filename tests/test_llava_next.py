"""LLaVA-NeXT: pictures in tiles, whose number of tokens follows their shape."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_llava_next as tiny
import torch
from contract.cases import FAMILIES
from contract.runs import build
from PIL import Image
from tiny_checkpoints import VICUNA, letters_tokenizer
from transformers import (
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    MistralConfig,
)

import sparsevlm as sv
from sparsevlm.models.llava_next import num_tokens, tile_tokens
from sparsevlm.models.prompts import prompt_builder
from sparsevlm.runtime.adapter import find_adapter

CASE = FAMILIES["llava-next"]
RELEASED = LlavaNextConfig()


# --- The number of tokens -------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "tokens"), [
    ((336, 336), 1176), ((1000, 1000), 2928), ((480, 640), 2340), ((640, 480), 2352),
    ((336, 672), 1752), ((1008, 336), 2376), ((1, 1000), 576),
])  # fmt: skip
def test_a_picture_has_as_many_tokens_as_its_shape_leaves(size, tokens):
    """Of the whole 576, then of the tiles without what was padded, and one behind each row."""
    assert num_tokens(size, RELEASED) == tokens
    rows, columns = tile_tokens(size, RELEASED)
    assert tokens == 576 + rows * (columns + 1)


def test_the_number_is_that_of_the_processor():
    processor = LlavaNextProcessor(
        LlavaNextImageProcessorPil(size={"shortest_edge": 336}),
        letters_tokenizer(VICUNA), patch_size=14, vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )  # fmt: skip
    drawn = np.random.default_rng(0).integers(1, 2000, (300, 2)).tolist()
    wanted = processor._get_num_multimodal_tokens(drawn).num_image_tokens
    assert [num_tokens(size, RELEASED) for size in drawn] == wanted


# --- The prompt -----------------------------------------------------------------------------------


def test_the_builder_makes_what_the_model_takes():
    """The pixels are the processor's, the placeholders fit, and a row without picture is text."""
    model = CASE.model()
    builder = prompt_builder("llava_next", model.config, letters_tokenizer(VICUNA))
    pictures = [Image.linear_gradient("L").convert("RGB").resize(s[::-1]) for s in tiny.SIZES]
    made = builder.inputs(["What?", "Why?", "Where?", "Who?"], [*([one] for one in pictures), []])
    counts = (made["input_ids"] == tiny.IMAGE_TOKEN).sum(1).tolist()
    assert counts == [*tiny.NUM_VISUAL, 0]
    assert made["image_sizes"].tolist() == list(map(list, tiny.SIZES))
    assert made["pixel_values"].shape == (3, 5, 3, tiny.SIDE, tiny.SIDE)
    with torch.no_grad(), sv.prune(model, build(CASE, "sparsevlm")) as trace:
        model.generate(**made, max_new_tokens=2, do_sample=False, suppress_tokens=[4])
    assert [sample.num_visual for sample in trace.samples] == counts


@pytest.mark.parametrize("text", [
    MistralConfig(), LlamaConfig(vocab_size=64064), LlamaConfig(vocab_size=128320),
])  # fmt: skip
def test_another_language_model_has_another_conversation(text):
    config = LlavaNextConfig(text_config=text)
    with pytest.raises(ValueError, match="known for Vicuna only .* or give prompt_builder a templ"):
        prompt_builder("llava_next", config, None)
    from sparsevlm.models.prompts.llava import VICUNA_V1

    assert prompt_builder("llava_next", config, None, template=VICUNA_V1).template is VICUNA_V1


# --- The budget and what is refused ---------------------------------------------------------------


def test_the_budget_is_shared_by_whole_tiles_and_newlines():
    """All tokens compete: the best rated stay, wherever they are."""
    inputs = CASE.inputs()
    with CASE.prune(CASE.model(), build(CASE, "fastv"), inputs) as trace:
        CASE.logits(CASE.model(), inputs)
    for sample in trace.samples:
        (stage,) = sample.stages
        scores = torch.tensor(stage.scores)
        assert stage.kept == scores.topk(len(stage.kept)).indices.sort().values.tolist()
    kept = [token for sample in trace.samples for token in sample.stages[0].kept]
    assert min(kept) < 36 < max(kept)


def test_each_row_has_the_pixels_of_its_picture():
    inputs = CASE.inputs()
    adapter = find_adapter(CASE.model())
    for row, (picture,) in enumerate(adapter.pictures(inputs, [[n] for n in CASE.counts])):
        assert torch.equal(adapter.pixels(inputs, picture), inputs["pixel_values"][row, 0])


def changed(**fields):
    return {**CASE.inputs(), **fields}


@pytest.mark.parametrize(("inputs", "said"), [
    (lambda: changed(image_sizes=None), "pixel_values came without image_sizes"),
    (lambda: changed(image_sizes=torch.tensor([tiny.SIZES[0]] * 3)),
     "sample 1 has 168 image placeholders, but its images give 114, 114 visual tokens"),
    (lambda: changed(pixel_values=None, image_sizes=None), "no image was given"),
])  # fmt: skip
def test_inputs_that_are_refused(inputs, said):
    with CASE.prune(CASE.model(), build(CASE, "uniform"), inputs()):
        with pytest.raises(ValueError, match=said):
            CASE.logits(CASE.model(), inputs())


def test_cls_tokens_do_not_fit_into_tiles():
    model = CASE.fresh()
    model.config.vision_feature_select_strategy = "full"
    with pytest.raises(ValueError, match="selects 'full' features, whose CLS tokens do not fit"):
        with sv.prune(model, build(CASE, "uniform")):
            pass


def test_a_picture_that_was_encoded_before_another():
    model, inputs = CASE.model(), CASE.inputs()
    pixels, sizes = inputs.pop("pixel_values"), inputs.pop("image_sizes")
    with torch.no_grad(), sv.prune(model, build(CASE, "random")):
        encoded = model.get_image_features(pixels, sizes)
        other = model.get_image_features(-pixels, sizes)
        model(**inputs, mm_encoder_outputs={"image": other})
        with pytest.raises(ValueError, match="give the pixels with the question"):
            model(**inputs, mm_encoder_outputs={"image": encoded})
