"""Mini-Gemini: prompts, ids, padding; the pictures themselves are in test_mini_gemini.py."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from tiny_mini_gemini import small_config, small_mini_gemini
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from sparsevlm.models.mini_gemini.processing import low_pixels, prepare, prompt, prompt_ids

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
MARK = "\u2581"
SPECIAL = ["<unk>", "<s>", "</s>"]


@pytest.fixture(scope="module")
def tokenizer():
    """Letters as tokens, with SentencePiece's word mark before every piece, as Llama has it."""
    letters = sorted({MARK, *f"{SYSTEM} USER: ASSISTANT:\nWhat is it? Is it red?<>_startofundml"})
    pieces = [(token, 0.0) for token in SPECIAL] + [(letter, -1.0) for letter in letters]
    inner = Tokenizer(models.Unigram(pieces, unk_id=0))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="</s>",
    )


def blank(size=(30, 20)):
    return Image.new("RGB", size, "red")


def test_vicuna_prompt():
    found = prompt("What is it?", small_config())
    assert found == f"{SYSTEM} USER: <image>\nWhat is it? ASSISTANT:"


def test_gemma_prompt():
    found = prompt("What is it?", small_config("gemma"))
    assert found == (
        "<start_of_turn>user\n<image>\nWhat is it?<end_of_turn>\n<start_of_turn>model\n"
    )


def test_an_image_named_in_the_question_stays_there():
    assert "USER: Is <image> red? ASSISTANT:" in prompt("Is <image> red?", small_config())
    with pytest.raises(ValueError, match="more than once"):
        prompt("<image><image>", small_config())


@pytest.mark.parametrize("views", ["base", "hd"])
def test_ids_piece_by_piece(tokenizer, views):
    config = small_config(views=views)
    ids = prompt_ids(tokenizer, "Is it red?", config)
    start = ids.index(config.image_token_id)
    stop = start + config.num_visual
    assert ids[start:stop] == [config.image_token_id] * config.num_visual
    before, after = (tokenizer.convert_ids_to_tokens(x) for x in (ids[:start], ids[stop:]))
    # The mark stands before each piece, so also between image and newline; one <s> only.
    assert "".join(before) == f"<s>{MARK}{SYSTEM} USER: ".replace(" ", MARK)
    assert "".join(after) == f"{MARK}\nIs it red? ASSISTANT:".replace(" ", MARK)


def test_prepare_pads_on_the_left_and_runs(tokenizer):
    model = small_mini_gemini()
    config = model.config
    questions = ["Is it red?", "What is it? Is it red?"]
    inputs = prepare(tokenizer, [blank(), blank((9, 70))], questions, config)
    shapes = {key: tuple(value.shape[1:]) for key, value in inputs.items() if "pixel" in key}
    assert shapes == {"pixel_values": (3, 28, 28), "pixel_values_aux": (3, 64, 64)}
    mask = inputs["attention_mask"]
    padding = len("What is it? ")
    assert mask[0].tolist() == [0] * padding + [1] * (mask.shape[1] - padding)
    assert mask[1].all() and (inputs["input_ids"][0, :padding] == 2).all()
    for index, question in enumerate(questions):
        real = inputs["input_ids"][index][mask[index].bool()]
        assert real.tolist() == prompt_ids(tokenizer, question, config)
    half = inputs.to(dtype=torch.float16)
    assert half["pixel_values"].dtype == torch.float16 and half["input_ids"].dtype == torch.int64
    inputs = prepare(tokenizer, [blank()] * 2, questions, config)
    assert model.generate(**inputs, max_new_tokens=2).shape == (2, mask.shape[1] + 2)


def test_hd_views_are_row_by_row_and_the_whole_last():
    config = small_config(views="hd")
    aux = torch.zeros(1, 3, 128, 128)
    for number, (top, left) in enumerate([(0, 0), (0, 64), (64, 0), (64, 64)]):
        aux[:, :, top : top + 64, left : left + 64] = number
    views = low_pixels(aux, config)[0]
    assert views.shape == (5, 3, 28, 28)
    assert [view[0, 14, 14].item() for view in views[:4]] == [0, 1, 2, 3]
    corners = [views[4, 0, row, column].item() for row in (0, 27) for column in (0, 27)]
    assert corners == [0, 1, 2, 3]


def test_prepare_refuses(tokenizer):
    config = small_config()
    with pytest.raises(ValueError, match="got 2 images and 1 questions"):
        prepare(tokenizer, [blank()] * 2, ["Is it red?"], config)
    with pytest.raises(ValueError, match="at least one"):
        prepare(tokenizer, [], [], config)


def test_a_tokenizer_without_padding(tokenizer):
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, bos_token="<s>")
    config = small_config()
    equal = prepare(bare, [blank()] * 2, ["Is it red?"] * 2, config)
    assert equal["attention_mask"].all()
    with pytest.raises(ValueError, match="no padding token"):
        prepare(bare, [blank()] * 2, ["Is it red?", "What is it?"], config)
