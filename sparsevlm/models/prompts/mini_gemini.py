"""Inputs of a Mini-Gemini model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sparsevlm.models.mini_gemini.configuration import MiniGeminiConfig
from sparsevlm.models.mini_gemini.vision import resized
from sparsevlm.models.prompt_builder import Fit, PromptBuilder
from sparsevlm.models.prompts.clip import clip_pixels, seen_by_clip
from sparsevlm.models.prompts.llava import VICUNA_V1
from sparsevlm.models.template import IMAGE, Media, Template

# The release has one template per language model.
_TEMPLATES = {
    "llama": replace(VICUNA_V1, text_only=False),
    "gemma": Template(
        "<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n", text_only=False,
        end="<end_of_turn>", again="\n<start_of_turn>user\n",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class MiniGeminiPromptBuilder(PromptBuilder):
    """Inputs of a `MiniGeminiForConditionalGeneration`, one image per question.

    As the official evaluation does it: the template of the language model (``vicuna_v1`` or
    ``gemma``), the image before the question or where ``<image>`` stands in it, the text before
    and after the image tokenized on its own. Different from it: any number of samples, padded on
    the left, and nothing is cut off at a length.

    ``pixel_values_aux`` is ``[images, 3, image_size_aux, image_size_aux]``; for ``pixel_values``
    see `low_pixels`.
    """

    template: Template
    fit: Fit = "pad"

    def prompt(self, question: str, num_images: int = 1, several: bool = False) -> str:
        """See `PromptBuilder.prompt`; an ``<image>`` in the question is where the image stands."""
        if num_images > 1:
            raise ValueError(
                f"this model takes one image with a question, got {num_images} images; ask about "
                "each of them alone"
            )
        return super().prompt(question, num_images, several or IMAGE in question)

    def seen(self, images: Media) -> Media:
        """See `PromptBuilder.seen`."""
        return seen_by_clip(images, self.config.image_size_aux, self.fit)

    def _placeholder(self, token: int) -> str:
        """The release has no token for it."""
        return IMAGE

    def _visual(self, media: Sequence[Media]) -> tuple[list[list[int]], dict[str, Tensor]]:
        images = [image for one in media for image in one]
        aux = clip_pixels(images, self.config.image_size_aux, self.fit)
        pixels = {"pixel_values": low_pixels(aux, self.config), "pixel_values_aux": aux}
        return [[self.config.num_visual] for _ in media], pixels


def mini_gemini_builder(config: MiniGeminiConfig, tokenizer: object) -> MiniGeminiPromptBuilder:
    """Return the builder of a released checkpoint: template and padding as its config says."""
    fit: Fit = "pad" if config.image_aspect_ratio == "pad" else "crop"
    template = _TEMPLATES[config.text_config.model_type]
    return MiniGeminiPromptBuilder(config, tokenizer, template, fit)


def low_pixels(aux: Tensor, config: MiniGeminiConfig) -> Tensor:
    """The low-resolution views, made from the normalized high-resolution image.

    Parameters
    ----------
    aux
        ``[images, 3, image_size_aux, image_size_aux]`` float32.
    config
        Of the model.

    Returns
    -------
    Tensor
        ``[images, 3, side, side]``; HD ``[images, views, 3, side, side]``: the crops row by row,
        then the whole image, which is the image of the crops made smaller once more.
    """
    side, grid = config.vision_config.image_size, config.image_grid
    whole = resized(aux, (grid * side, grid * side))
    if grid == 1:
        return whole
    crops = whole.unflatten(-1, (grid, side)).unflatten(-3, (grid, side))
    views = crops.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    if not config.image_global:
        return views
    return torch.cat([views, resized(whole, (side, side))[:, None]], dim=1)
