"""The prompt builders of all architectures, without torchvision.

The processors of Qwen-VL and Video-LLaVA refuse to load without it, because of their video parts.
These need a tokenizer, Pillow and the model's config.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sparsevlm.models.prompt_builder import PromptBuilder
from sparsevlm.models.prompts.llava import LlavaPromptBuilder
from sparsevlm.models.prompts.llava_next import llava_next_builder
from sparsevlm.models.prompts.mini_gemini import mini_gemini_builder
from sparsevlm.models.prompts.qwen_vl import QwenPromptBuilder
from sparsevlm.models.prompts.video_llava import VideoLlavaPromptBuilder

_BUILDERS: dict[str, Callable[..., PromptBuilder]] = {
    "llava": LlavaPromptBuilder,
    "llava_next": llava_next_builder,
    "video_llava": VideoLlavaPromptBuilder,
    "qwen2_vl": QwenPromptBuilder,
    "mini_gemini": mini_gemini_builder,
}


def prompt_builder(
    architecture: str, config: Any, tokenizer: Any, **options: object
) -> PromptBuilder:
    """Return the builder that asks a checkpoint as the paper's scripts did.

    Parameters
    ----------
    architecture
        A key of `checkpoints.contents.KINDS`'s values: llava, llava_next, video_llava, qwen2_vl,
        mini_gemini.
    config, tokenizer
        Of the model.
    **options
        Further fields of the architecture's builder, such as ``image_tokens`` of Qwen-VL.

    Raises
    ------
    ValueError
        Unknown architecture.
    """
    if architecture not in _BUILDERS:
        raise ValueError(
            f"no prompt builder for architecture {architecture!r}; choose from "
            f"{', '.join(_BUILDERS)}"
        )
    return _BUILDERS[architecture](config, tokenizer, **options)
