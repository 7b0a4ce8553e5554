"""Mini-Gemini (MGM) for current transformers: the model, its inputs, its official weights."""

from __future__ import annotations

from sparsevlm.models.mini_gemini.checkpoint import load_official as load_official
from sparsevlm.models.mini_gemini.configuration import MiniGeminiConfig as MiniGeminiConfig
from sparsevlm.models.mini_gemini.model import MiniGeminiModel as MiniGeminiModel
from sparsevlm.models.mini_gemini.modeling import (
    MiniGeminiForConditionalGeneration as MiniGeminiForConditionalGeneration,
)
