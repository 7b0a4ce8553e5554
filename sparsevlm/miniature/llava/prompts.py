"""The class of the miniature LLaVA, and how it is asked."""

from __future__ import annotations

from transformers import LlavaConfig, LlavaForConditionalGeneration

from sparsevlm.miniature.vocabulary import build_tokenizer
from sparsevlm.models.prompts.llava import LlavaPromptBuilder
from sparsevlm.models.template import Template

MODEL = LlavaForConditionalGeneration
PIXEL_MEAN, PIXEL_STD = 115 / 255, 65 / 255
TEMPLATE = Template("USER : ", " ASSISTANT :", "<image> ", text_only=False, again="USER : ")


def builder(config: LlavaConfig | None) -> LlavaPromptBuilder:
    """The miniature's words and template; an image of any size is stretched to 96 x 96 pixels."""
    return LlavaPromptBuilder(
        config,
        build_tokenizer(),
        TEMPLATE,
        "stretch",
        mean=(PIXEL_MEAN,) * 3,
        std=(PIXEL_STD,) * 3,
    )
