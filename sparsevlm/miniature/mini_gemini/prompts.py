"""The class of the miniature Mini-Gemini, and how it is asked."""

from __future__ import annotations

from sparsevlm.miniature.llava.prompts import TEMPLATE
from sparsevlm.miniature.vocabulary import build_tokenizer
from sparsevlm.models.mini_gemini import MiniGeminiConfig, MiniGeminiForConditionalGeneration
from sparsevlm.models.prompts.mini_gemini import MiniGeminiPromptBuilder

MODEL = MiniGeminiForConditionalGeneration


def builder(config: MiniGeminiConfig | None) -> MiniGeminiPromptBuilder:
    """The miniature's words and template; the images are made as for the large model."""
    return MiniGeminiPromptBuilder(config, build_tokenizer(), TEMPLATE)
