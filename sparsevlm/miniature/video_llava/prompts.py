"""How the miniature Video-LLaVA is asked."""

from __future__ import annotations

from dataclasses import replace

from transformers import VideoLlavaConfig

from sparsevlm.miniature.llava.model import PIXEL_MEAN, PIXEL_STD
from sparsevlm.miniature.llava.prompts import TEMPLATE
from sparsevlm.miniature.video_llava.vocabulary import build_tokenizer
from sparsevlm.models.prompts.video_llava import VideoLlavaPromptBuilder


def builder(config: VideoLlavaConfig | None) -> VideoLlavaPromptBuilder:
    """The miniature's words and template; a frame of any size is stretched to 64 x 64 pixels."""
    return VideoLlavaPromptBuilder(
        config,
        build_tokenizer(),
        replace(TEMPLATE, image=None, video="<video> "),
        "stretch",
        mean=(PIXEL_MEAN,) * 3,
        std=(PIXEL_STD,) * 3,
    )
