"""Prompts token for token as the official scripts make them, whatever the tokenizer's files."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import official_prompts
import pytest
import vocabularies
from transformers import LlamaConfig, LlavaConfig, Qwen2VLConfig, VideoLlavaConfig

from sparsevlm.models.checkpoints.loading import builder_of
from sparsevlm.models.mini_gemini import MiniGeminiConfig
from sparsevlm.models.prompts.official import differences, prompts_of

GOLDEN = json.loads((Path(__file__).parent / "golden" / "prompt_ids.json").read_text())["cases"]
VISUAL = official_prompts.VISUAL

QWEN = {"model_type": "qwen2_vl_text", "vocab_size": 152064}
CONFIGS = {
    "llava": LlavaConfig(text_config=LlamaConfig(vocab_size=32064)),
    "video_llava": VideoLlavaConfig(text_config=LlamaConfig(vocab_size=32064)),
    "mini_gemini": MiniGeminiConfig(),
    "qwen2_vl": Qwen2VLConfig(image_token_id=151655, video_token_id=151656, text_config=QWEN),
}
FORMS = {
    "as released": ({}, []),
    "legacy": ({"legacy": True}, []),
    "old normalizer": ({"old_normalizer": True}, []),
    "old normalizer, legacy": ({"old_normalizer": True, "legacy": True}, []),
    "tokenizer.model": ({}, ["tokenizer.json"]),
    "tokenizer.model, legacy": ({"legacy": True}, ["tokenizer.json"]),
    "tokenizer.json": ({}, ["tokenizer.model"]),
    "vocab.json": ({}, ["tokenizer.json"]),
}
OF_VICUNA = [form for form in FORMS if form != "vocab.json"]
ALL = [
    *((family, form) for family in ("llava", "video_llava") for form in OF_VICUNA),
    ("mini_gemini", "as released"), ("mini_gemini", "legacy"),
    ("qwen2_vl", "as released"), ("qwen2_vl", "vocab.json"),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a function from a family and the form of its tokenizer's files to a prompt builder."""

    @cache
    def build(family, form):
        folder = tmp_path_factory.mktemp(family)
        options, removed = FORMS[form]
        vocabularies.WRITERS[family](folder, **options)
        for name in removed:
            (folder / name).unlink()
        config = CONFIGS[family]
        return builder_of(family, config, folder)

    return build


def ids_of(builder, question, images, several=False):
    """The ids of a prompt, -200 for the placeholder."""
    visual = {builder.config.image_token_id, getattr(builder.config, "video_token_id", None)}
    found = builder.ids(question, images, several)
    return [VISUAL if token in visual else token for token in found]


def test_the_vocabularies_are_the_real_ones(made):
    llama = made("llava", "as released").tokenizer
    assert llama("A chat", add_special_tokens=False)["input_ids"] == [319, 13563]
    assert official_prompts.sentencepiece().encode("A chat") == [319, 13563]
    assert len(vocabularies.llama_vocabulary()) == 32_000
    assert len(vocabularies.llama_merges()) == 61_249
    assert len(vocabularies.qwen_vocabulary()) == 151_643


def test_the_recorded_ids_are_those_of_sentencepiece():
    """The other derivation, of this suite, is worth something too."""
    for case in GOLDEN:
        if "</s>" not in case["question"]:
            user = {"vicuna_v1": "user", "llava_v1": "human"}[case["template"]]
            lead = "<image>\n" if case["image"] else ""
            prompt = f"{official_prompts.SYSTEM.format(user)}{lead}{case['question']} ASSISTANT:"
            assert official_prompts.llava_ids(prompt) == case["ids"], case["question"]


@pytest.mark.parametrize("form", OF_VICUNA)
@pytest.mark.parametrize("family", ["llava", "video_llava"])
def test_ids_of_llavas_own_functions(made, family, form):
    builder = made(family, form)
    template, images = {"llava": ("vicuna_v1", 1), "video_llava": ("llava_v1", 8)}[family]
    cases = [case for case in GOLDEN if case["template"] == template]
    assert len(cases) == 38
    for case in cases:
        asked = case["question"], images * case["image"]
        if "</s>" in case["question"]:  # the official scripts read it as the end of the text
            with pytest.raises(ValueError, match="contains '</s>'"):
                builder.ids(*asked)
        else:
            assert ids_of(builder, *asked) == case["ids"], case["question"]


@pytest.mark.parametrize(("family", "form"), ALL)
def test_ids_of_every_benchmark(made, family, form):
    builder = made(family, form)
    assert not [str(found) for found in differences(family, builder)]
    for prompt in prompts_of(family):
        assert ids_of(builder, prompt["question"], prompt["images"]) == prompt["ids"]


@pytest.mark.parametrize("form", ["as released", "legacy"])
def test_an_image_in_the_middle_of_a_question(made, form):
    """SentencePiece begins " this" with two spaces."""
    found = ids_of(made("mini_gemini", form), "Is <image> this  red?", 1)
    want = official_prompts.llava_ids(
        f"{official_prompts.SYSTEM.format('user')}Is <image> this  red? ASSISTANT:"
    )
    assert found == want and want[want.index(VISUAL) + 1] == 29871


@pytest.mark.parametrize("form", OF_VICUNA)
def test_several_images_and_a_further_question_of_llava(made, form):
    """Piece by piece, as LLaVA's `tokenizer_image_token` and its rounds of a conversation."""
    builder, system = made("llava", form), official_prompts.SYSTEM.format("user")
    for question, written in (
        ("Same?", "<image> <image>\nSame?"), ("Is <image> like <image>?",) * 2,
    ):  # fmt: skip
        want = official_prompts.llava_ids(f"{system}{written} ASSISTANT:")
        assert ids_of(builder, question, 2, several=True) == want and want.count(VISUAL) == 2
    text, ids = builder.further("Is it red?")
    assert text == "USER: Is it red? ASSISTANT:"
    assert ids == official_prompts.sentencepiece().encode(text)
    assert builder.ended([3869]) == [3869, 2]


@pytest.mark.parametrize("form", ["as released", "vocab.json"])
def test_several_images_and_a_further_question_of_qwen(made, form):
    """The tokenizer's own ids of the whole."""
    builder = made("qwen2_vl", form)
    for question in ("Same?", "Is <image> like <image>?"):
        prompt = builder.prompt(question, 2, several=True)
        assert prompt.count("<|vision_start|><|image_pad|><|vision_end|>") == 2
        assert builder.ids(question, 2, several=True) == builder.tokenizer(prompt)["input_ids"]
    whole = builder.tokenizer(f"Yes.<|im_end|>{builder.further('Is it red?')[0]}")["input_ids"]
    said = builder.tokenizer("Yes.")["input_ids"]
    assert whole == [*builder.ended(said), *builder.further("Is it red?")[1]]


def test_the_recorded_prompts_are_of_the_official_scripts():
    assert json.loads(official_prompts.DATA.read_text(encoding="utf-8")) == official_prompts.every()
    asked = {(prompt["family"], prompt["benchmark"]) for prompt in official_prompts.every()}
    assert len({benchmark for _, benchmark in asked}) == 12


def test_a_prompt_that_differs_is_named_with_its_first_token(made):
    builder = made("llava", "as released")
    builder.tokenizer.bos_token, kept = "</s>", builder.tokenizer.bos_token
    try:
        found = list(differences("llava", builder))
    finally:
        builder.tokenizer.bos_token = kept
    assert len(found) == len(prompts_of("llava"))
    assert str(found[0]) == (
        "token 0 of the prompt of gqa with 'Is the kettle on the left of the stove?\\nAnswer the "
        "question using a single word or phrase.' is 2 ('</s>'), officially 1 ('<s>')"
    )
