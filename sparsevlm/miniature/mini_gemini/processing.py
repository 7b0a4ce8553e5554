"""Pictures and prompts into tensors for the miniature Mini-Gemini."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL.Image import Image
from transformers import BatchFeature, CLIPVisionConfig, PreTrainedTokenizerFast

from sparsevlm.miniature.mini_gemini.pictures import SCALE
from sparsevlm.miniature.scenes import GRID, PATCH
from sparsevlm.miniature.vocabulary import build_tokenizer
from sparsevlm.models.images import load_image
from sparsevlm.models.mini_gemini import MiniGeminiConfig
from sparsevlm.models.mini_gemini.processing import IMAGE, aux_pixels, low_pixels


class MiniGeminiProcessor:
    """What a processor of transformers is to its model, in the calls that this suite makes.

    The pictures take the way of the big model, `families.mini_gemini.processing`: padded to a
    square, normalised with CLIP's means, and the low resolution made from the high one. The prompt
    is the miniature's own, not Vicuna's.

    Attributes
    ----------
    tokenizer : PreTrainedTokenizerFast
        Word-level, padding on the left.
    config : MiniGeminiConfig
        Only its picture sizes are used: 192 x 192 and 96 x 96 pixels, 576 visual tokens.
    """

    def __init__(self) -> None:
        self.tokenizer: PreTrainedTokenizerFast = build_tokenizer()
        self.config = MiniGeminiConfig(
            vision_config=CLIPVisionConfig(image_size=GRID * PATCH, patch_size=PATCH),
            image_size_aux=SCALE * GRID * PATCH,
        )
        self.decode = self.tokenizer.decode
        self.batch_decode = self.tokenizer.batch_decode

    def __call__(
        self,
        images: Sequence[Image],
        text: Sequence[str],
        padding: bool = True,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """Inputs for one picture and one prompt per sample.

        Parameters
        ----------
        images : sequence of PIL images
            Of any size; 192 x 192 pixels are taken as they are.
        text : sequence of str
            With one ``<image>`` each (`vocabulary.prompt`).

        Returns
        -------
        BatchFeature
            ``input_ids`` and ``attention_mask`` [batch, words], ``pixel_values`` [batch, 3, 96,
            96] and ``pixel_values_aux`` [batch, 3, 192, 192].

        Raises
        ------
        ValueError
            Different numbers of pictures and prompts, or a prompt without its one ``<image>``.
        """
        if len(images) != len(text) or any(prompt.split().count(IMAGE) != 1 for prompt in text):
            raise ValueError(
                f"give one picture per prompt and one {IMAGE} in each, got {len(images)} pictures "
                f"for {list(text)}"
            )
        many = " ".join([IMAGE] * self.config.num_visual)
        words = self.tokenizer(
            [prompt.replace(IMAGE, many) for prompt in text],
            padding=padding,
            return_tensors=return_tensors,
            return_token_type_ids=False,
        )
        fine = torch.stack([aux_pixels(load_image(image), self.config) for image in images])
        coarse = low_pixels(fine, self.config)
        return BatchFeature({**words, "pixel_values": coarse, "pixel_values_aux": fine})

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the tokenizer; the sizes of the pictures stand in the model's ``config.json``."""
        self.tokenizer.save_pretrained(folder)
