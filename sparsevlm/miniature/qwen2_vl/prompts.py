"""How the miniature Qwen2-VL is asked: the image stands between two marks."""

from __future__ import annotations

from dataclasses import replace

from transformers import Qwen2VLConfig

from sparsevlm.miniature.llava.model import PIXEL_MEAN, PIXEL_STD
from sparsevlm.miniature.llava.prompts import TEMPLATE
from sparsevlm.miniature.qwen2_vl.model import MARKS
from sparsevlm.miniature.vocabulary import BOS, IMAGE, INDEX, build_tokenizer
from sparsevlm.models.prompts.qwen_vl import QwenPromptBuilder

BEFORE = ("<s>", "USER", ":", "<vision_start>")
AFTER = ("<vision_end>",)
IDS = INDEX | MARKS


def encode(words: list[str] | tuple[str, ...]) -> list[int]:
    """Ids of words; a word outside the vocabulary raises KeyError (training text is closed)."""
    return [IDS[word] for word in words]


def builder(config: Qwen2VLConfig | None) -> QwenPromptBuilder:
    """The miniature's words and template; an image keeps its size within 64 to 1500 tokens."""
    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": list(MARKS)})
    return QwenPromptBuilder(
        config,
        tokenizer,
        replace(TEMPLATE, image="<vision_start> <image> <vision_end> "),
        image_tokens=(64, 1500),
        mean=(PIXEL_MEAN,) * 3,
        std=(PIXEL_STD,) * 3,
    )


def prompt_ids(question: str, num_visual: int) -> list[int]:
    """Token ids of a question about a picture of ``num_visual`` tokens.

    Words that the vocabulary does not have become ``<unk>``.
    """
    unknown = INDEX["<unk>"]
    text = [INDEX.get(word, unknown) for word in f"{question}{TEMPLATE.after}".split()]
    return [BOS, *encode(BEFORE[1:]), *[IMAGE] * num_visual, *encode(AFTER), *text]
