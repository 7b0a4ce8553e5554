"""From pictures and questions to the inputs of a Mini-Gemini model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature, CLIPImageProcessorPil

from sparsevlm.models.images import load_image
from sparsevlm.models.mini_gemini.configuration import MiniGeminiConfig
from sparsevlm.models.mini_gemini.vision import resized
from sparsevlm.runtime.layout import pad_left

IMAGE = "<image>"
# 255 times the mean of CLIP's training images, rounded down.
FILL = (122, 116, 104)
# What stands before and after a question; the release has one template per language model.
TEMPLATES = {
    "llama": (
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions. USER: ",
        " ASSISTANT:",
    ),
    "gemma": ("<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"),
}


def prepare(
    tokenizer: object,
    images: Sequence[str | Path | Image.Image],
    questions: Sequence[str],
    config: MiniGeminiConfig,
) -> BatchFeature:
    """Inputs for one picture and one question per sample.

    As the official evaluation does it: the template of the language model (``vicuna_v1`` or
    ``gemma``), the image before the question, pieces tokenised one by one. Different from it: any
    number of samples, padded on the left; nothing is cut off at a length; and pictures are opened
    by `models.images.load_image`, which turns them upright and lays transparency on white.

    Parameters
    ----------
    tokenizer
        Of the language model.
    images
        Paths or PIL images.
    questions
        Plain text. Where ``<image>`` stands in a question, the image stands there; else before it.
    config
        Of the model.

    Returns
    -------
    BatchFeature
        ``input_ids`` and ``attention_mask`` ``[batch, tokens]``, ``pixel_values`` and
        ``pixel_values_aux`` in float32 (shapes: `MiniGeminiModel.get_image_features`);
        ``.to(device, dtype)`` changes the type of the pixels only.

    Raises
    ------
    ValueError
        For different numbers of pictures and questions, none at all, more than one ``<image>``
        in a question, or a batch to pad without a padding token.
    """
    if len(images) != len(questions) or not questions:
        raise ValueError(
            f"give one image per question and at least one of each, got {len(images)} images and "
            f"{len(questions)} questions"
        )
    rows = [torch.tensor(prompt_ids(tokenizer, question, config)) for question in questions]
    _check_padding(tokenizer, rows)
    mask = pad_left([torch.ones_like(row) for row in rows])
    aux = torch.stack([aux_pixels(load_image(image), config) for image in images])
    return BatchFeature(
        {
            "input_ids": pad_left(rows).masked_fill(mask == 0, tokenizer.pad_token_id or 0),
            "attention_mask": mask,
            "pixel_values": low_pixels(aux, config),
            "pixel_values_aux": aux,
        }
    )


def prompt(question: str, config: MiniGeminiConfig) -> str:
    """The whole prompt with one ``<image>``; see `prepare`.

    Raises
    ------
    ValueError
        For more than one ``<image>`` in the question.
    """
    if question.count(IMAGE) > 1:
        raise ValueError(f"{IMAGE} stands more than once in {question!r}; give one image a sample")
    before, after = TEMPLATES[config.text_config.model_type]
    content = question if IMAGE in question else f"{IMAGE}\n{question}"
    return f"{before}{content}{after}"


def prompt_ids(tokenizer: object, question: str, config: MiniGeminiConfig) -> list[int]:
    """Token ids of the prompt, one placeholder per visual token.

    The text before and after the image is tokenised on its own, so SentencePiece begins each
    piece with its word mark; the second piece loses its beginning-of-sequence token.
    """
    before, after = (
        tokenizer(piece)["input_ids"] for piece in prompt(question, config).split(IMAGE)
    )
    if after and after[0] == tokenizer.bos_token_id:
        after = after[1:]
    return [*before, *[config.image_token_id] * config.num_visual, *after]


def aux_pixels(image: Image.Image, config: MiniGeminiConfig) -> Tensor:
    """``[3, image_size_aux, image_size_aux]`` float32: padded or cropped, bicubic, normalised."""
    side = config.image_size_aux
    if config.image_aspect_ratio == "pad":
        image = pad_to_square(image)
    # Pillow's bicubic, also where torchvision is installed and the default processor is its own.
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )
    return processor(image, return_tensors="pt")["pixel_values"][0]


def pad_to_square(image: Image.Image) -> Image.Image:
    """Centre an RGB image on a square of its longer side, filled with CLIP's mean colour."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), FILL)
    square.paste(image, tuple((side - length) // 2 for length in image.size))
    return square


def low_pixels(aux: Tensor, config: MiniGeminiConfig) -> Tensor:
    """The low-resolution views, made from the normalised high-resolution image.

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


def _check_padding(tokenizer: object, rows: list[Tensor]) -> None:
    if tokenizer.pad_token_id is None and len({len(row) for row in rows}) > 1:
        raise ValueError(
            "the tokenizer has no padding token, but the prompts differ in length; set "
            "tokenizer.pad_token = tokenizer.unk_token, as Vicuna has it"
        )
