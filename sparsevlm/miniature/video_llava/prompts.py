"""The class of the miniature Video-LLaVA, and how it is asked."""

from __future__ import annotations

from dataclasses import replace

from transformers import VideoLlavaConfig, VideoLlavaForConditionalGeneration

from sparsevlm.miniature.llava.prompts import PIXEL_MEAN, PIXEL_STD, TEMPLATE
from sparsevlm.miniature.video_llava.vocabulary import build_tokenizer
from sparsevlm.models.prompts.video_llava import VideoLlavaPromptBuilder

MODEL = VideoLlavaForConditionalGeneration


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
