"""What turns pictures and questions into tensors for the miniature Qwen2-VL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL.Image import Image
from transformers import PreTrainedTokenizerFast, Qwen2VLImageProcessorPil

from sparsevlm.miniature.llava.model import PIXEL_MEAN, PIXEL_STD
from sparsevlm.miniature.qwen2_vl.model import MARKS, MERGE, PATCH, TIME
from sparsevlm.miniature.qwen2_vl.prompts import prompt_ids
from sparsevlm.miniature.vocabulary import IMAGE, build_tokenizer
from sparsevlm.models.inputs.samples import pad_batch

# A picture is resized only if it gives fewer or more visual tokens than this.
FEWEST_TOKENS, MOST_TOKENS = 64, 1500


class MiniatureProcessor:
    """Image processor of Qwen2-VL and the word-level tokenizer, with the miniature's prompt.

    Transformers' own `Qwen2VLProcessor` needs torchvision for its videos, which this project does
    without.
    """

    def __init__(self) -> None:
        self.image_processor = Qwen2VLImageProcessorPil(
            patch_size=PATCH,
            merge_size=MERGE,
            temporal_patch_size=TIME,
            size={
                "shortest_edge": FEWEST_TOKENS * PATCH**2,
                "longest_edge": MOST_TOKENS * PATCH**2,
            },
            image_mean=[PIXEL_MEAN] * 3,
            image_std=[PIXEL_STD] * 3,
        )
        self.tokenizer: PreTrainedTokenizerFast = build_tokenizer()
        self.tokenizer.add_special_tokens({"extra_special_tokens": list(MARKS)})

    def __call__(
        self, images: Sequence[Image], questions: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        """A batch for ``generate``, padded on the left; one picture per question, of any sizes.

        Returns
        -------
        dict
            ``input_ids``, ``attention_mask``, ``mm_token_type_ids`` (1: visual) [batch, tokens],
            ``pixel_values`` [patches, 96] and ``image_grid_thw`` [batch, 3].

        Raises
        ------
        ValueError
            Another number of pictures than questions, or an empty question.
        """
        if len(images) != len(questions):
            raise ValueError(
                f"every question needs one picture, got {len(images)} pictures and "
                f"{len(questions)} questions"
            )
        # One by one, because the processor does not promise to take mixed sizes.
        done = [self.image_processor(image, return_tensors="pt") for image in images]
        grids = torch.cat([one["image_grid_thw"] for one in done])
        counts = (grids.prod(dim=1) // MERGE**2).tolist()
        rows = [prompt_ids(q, n) for q, n in zip(questions, counts, strict=True)]
        inputs = pad_batch(self.tokenizer, rows)
        inputs["mm_token_type_ids"] = (inputs["input_ids"] == IMAGE).long()
        inputs["pixel_values"] = torch.cat([one["pixel_values"] for one in done])
        inputs["image_grid_thw"] = grids
        return inputs

    def batch_decode(self, ids: torch.Tensor, skip_special_tokens: bool = True) -> list[str]:
        """Words of token ids [batch, tokens]."""
        return self.tokenizer.batch_decode(ids, skip_special_tokens=skip_special_tokens)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the files of image processor and tokenizer into a folder."""
        self.image_processor.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
