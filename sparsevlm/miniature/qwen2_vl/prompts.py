"""The class of the miniature Qwen2-VL, and how it is asked: the image between two marks."""

from __future__ import annotations

from dataclasses import replace

from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from sparsevlm.miniature.llava.prompts import PIXEL_MEAN, PIXEL_STD, TEMPLATE
from sparsevlm.miniature.vocabulary import INDEX, build_tokenizer
from sparsevlm.models.prompts.qwen_vl import QwenPromptBuilder

MODEL = Qwen2VLForConditionalGeneration
# Marks around the image, and a placeholder for clips, behind the words of the other miniatures.
VISION_START, VISION_END, VIDEO = (len(INDEX) + i for i in range(3))
MARKS = {"<vision_start>": VISION_START, "<vision_end>": VISION_END, "<video>": VIDEO}


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
