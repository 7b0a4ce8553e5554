"""Inputs of LLaVA-NeXT (LLaVA-1.6) around a Vicuna."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import LlavaNextImageProcessorPil

from sparsevlm.models.images import as_pixels
from sparsevlm.models.llava_next import num_tokens
from sparsevlm.models.prompt_builder import Fit, PromptBuilder
from sparsevlm.models.prompts.clip import CLIP_MEAN, CLIP_STD, Channels
from sparsevlm.models.prompts.llava import VICUNA_V1
from sparsevlm.models.template import Media, Template

VICUNA_ROWS = 32064  # of its embedding, the placeholder and padding included


@dataclass(frozen=True)
class LlavaNextPromptBuilder(PromptBuilder):
    """Inputs of a `LlavaNextForConditionalGeneration`, as LLaVA's scripts build them.

    With images there are ``pixel_values`` ``[images, tiles, 3, side, side]``, the whole picture
    first and zeros where another one has more tiles, and ``image_sizes`` ``[images, 2]``, height
    and width in pixels.

    Attributes
    ----------
    mean, std
        Of the image's channels.
    """

    template: Template = VICUNA_V1
    fit: Fit = "stretch"
    mean: Channels = CLIP_MEAN
    std: Channels = CLIP_STD

    def _visual(self, media: Sequence[Media]) -> tuple[list[list[int]], dict[str, Tensor]]:
        images = [as_pixels(image) for one in media for image in one]
        if not images:
            return [[] for _ in media], {}
        side = self.config.vision_config.image_size
        processor = LlavaNextImageProcessorPil(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side},
            image_grid_pinpoints=self.config.image_grid_pinpoints,
            image_mean=list(self.mean), image_std=list(self.std),
        )  # fmt: skip
        made = processor(images, return_tensors="pt")
        counts = iter([num_tokens(size, self.config) for size in made["image_sizes"].tolist()])
        return [[next(counts) for _ in one] for one in media], dict(made)


def llava_next_builder(config: Any, tokenizer: object, **options: Any) -> LlavaNextPromptBuilder:
    """Return the builder of a released checkpoint around a Vicuna.

    Raises
    ------
    ValueError
        Another language model, whose conversations are written otherwise, and no template.
    """
    text = config.text_config
    if "template" not in options and (text.model_type != "llama" or text.vocab_size > VICUNA_ROWS):
        raise ValueError(
            f"this LLaVA-NeXT is around a {text.model_type} with {text.vocab_size} tokens, and the "
            "conversation is known for Vicuna only (llava-v1.6-vicuna-7b-hf, -13b-hf); take one of "
            "these, or give prompt_builder a template"
        )
    return LlavaNextPromptBuilder(config, tokenizer, **options)
