"""Asking checkpoints as the paper's scripts did: prompts, padding, where the picture stands."""

from __future__ import annotations

import pytest
from tiny_checkpoints import (
    FAMILIES,
    PIECES,
    VICUNA,
    letters_tokenizer,
    picture,
    pieces_tokenizer,
    save_every,
)

from sparsevlm.models.prompt_builder import IMAGE_AT, QWEN_TOKENS, Asker, image_position


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return save_every(tmp_path_factory)


def asker_of(folders, family, tokenizer=None):
    folder, model = folders[family]
    return Asker(family, model.config, tokenizer or letters_tokenizer(FAMILIES[family][1]))


@pytest.mark.parametrize("family", ["llava", "mini_gemini"])
def test_the_picture_stands_at_index_35(folders, family):
    assert len(PIECES.split()) == IMAGE_AT - 1  # and the beginning of the sequence
    asker = asker_of(folders, family, pieces_tokenizer())
    assert image_position(asker) == IMAGE_AT
    inputs = asker.inputs(["Why?"], [[picture(90, 60)]])
    ids = inputs["input_ids"][0].tolist()
    assert ids.index(asker.config.image_token_id) == IMAGE_AT


def test_a_tokenizer_without_the_placeholder(folders):
    asker = asker_of(folders, "llava", letters_tokenizer(VICUNA[:4]))
    with pytest.raises(ValueError, match="does not know the placeholder <image>"):
        image_position(asker)


def test_the_picture_is_padded_with_the_mean_colour(folders):
    """A wide picture gets bands of CLIP's mean, which normalise to about zero."""
    for family in ("llava", "mini_gemini"):
        pixels = asker_of(folders, family).inputs(["Why?"], [[picture(96, 48)]])["pixel_values"]
        side = pixels.shape[-1]
        band = pixels[..., : side // 4 - 4, :]
        assert band.abs().max() < 0.02
        assert pixels[..., side // 2 - 4 : side // 2 + 4, :].abs().max() > 0.5


HUMAN = "A chat between a curious human and an artificial intelligence assistant. The assistant "


def test_the_prompts(folders):
    prompts = {family: asker_of(folders, family).prompt("Why?", 1) for family in FAMILIES}
    user = HUMAN.replace("human", "user") + "gives helpful, detailed, and polite answers to the "
    assert prompts["llava"] == prompts["mini_gemini"]
    assert prompts["llava"] == f"{user}user's questions. USER: <image>\nWhy? ASSISTANT:"
    assert prompts["qwen2_vl"] == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        "<|vision_start|><|image_pad|><|vision_end|>Why?<|im_end|>\n<|im_start|>assistant\n"
    )
    video = asker_of(folders, "video_llava").prompt("Why?", 8)
    assert video.startswith(HUMAN) and video.endswith(" USER: <video>\nWhy? ASSISTANT:")
    assert "human's questions. USER" in video
    assert "<image>" not in asker_of(folders, "llava").prompt("Why?", 0)
    assert "<|video_pad|>" in asker_of(folders, "qwen2_vl").prompt("Why?", 8)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_text_of_the_prompt_is_what_the_inputs_hold(folders, family):
    asker = asker_of(folders, family)
    media = [picture(24, 24, n) for n in range(4)] if family == "video_llava" else [picture(60, 40)]
    ids = asker.inputs(["Why not?"], [media])["input_ids"][0].tolist()
    placeholders = {asker.config.image_token_id, getattr(asker.config, "video_token_id", None)}
    found = asker.tokenizer.decode([i for i in ids if i not in placeholders])
    want = asker.prompt("Why not?", len(media))
    for token in ("<image>", "<video>", "<|image_pad|>"):
        want = want.replace(token, "")
    assert found.removeprefix("<s>") == want


def test_pictures_of_qwen_have_the_tokens_of_table_2(folders):
    """A picture of COCO's usual size comes to the mean that the paper prints, 1311 to 1326."""
    assert QWEN_TOKENS == (1280, 16384)
    asker = asker_of(folders, "qwen2_vl")
    inputs = asker.inputs(["Why?"], [[picture(183, 137)]])  # 640 x 480 at 8 pixels for 28
    visual = (inputs["input_ids"] == asker.config.image_token_id).sum().item()
    assert 1280 <= visual < 1330


def test_media_that_do_not_fit(folders):
    with pytest.raises(ValueError, match="2 questions and 1 lists"):
        asker_of(folders, "llava").inputs(["a", "b"], [[picture(9, 9)]])
    with pytest.raises(ValueError, match="takes images only"):
        asker_of(folders, "llava").inputs(["a"], [[picture(9, 9)] * 2])
    with pytest.raises(ValueError, match="exactly one picture"):
        asker_of(folders, "mini_gemini").inputs(["a"], [[]])
