"""What turns clips and text into tensors: the processor of the miniature Video-LLaVA.

`transformers.VideoLlavaProcessor` needs torchvision, which this project does not install; this one
gives the same tensors from an image processor that runs on Pillow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor
from transformers import BatchFeature, CLIPImageProcessorPil

from sparsevlm.miniature.llava.model import PIXEL_MEAN, PIXEL_STD
from sparsevlm.miniature.video_llava.clips import SIZE
from sparsevlm.miniature.video_llava.model import TOKENS_PER_FRAME
from sparsevlm.miniature.video_llava.vocabulary import VIDEO, build_tokenizer
from sparsevlm.models.inputs.samples import expand, pad_batch


class ClipProcessor:
    """Image processor and tokenizer of the miniature.

    A frame of another size is resized to 64 x 64 (bicubic, aspect not kept).
    """

    def __init__(self) -> None:
        self.image_processor = CLIPImageProcessorPil(
            do_resize=True,
            size={"height": SIZE, "width": SIZE},
            do_center_crop=False,
            image_mean=[PIXEL_MEAN] * 3,
            image_std=[PIXEL_STD] * 3,
        )
        self.tokenizer = build_tokenizer()

    def __call__(self, videos: Sequence[Sequence[Image]], text: Sequence[str]) -> BatchFeature:
        """Tensors for ``generate``, padded on the left.

        Parameters
        ----------
        videos : frames of each clip, as many in every clip
        text : one prompt per clip, with ``<video>`` once (`vocabulary.prompt`)

        Returns
        -------
        BatchFeature
            ``input_ids`` and ``attention_mask`` [clips, tokens], ``pixel_values_videos``
            [clips, frames, 3, 64, 64].

        Raises
        ------
        ValueError
            For another number of prompts than clips, clips of different length, and a prompt
            without exactly one ``<video>``.
        """
        lengths = {len(frames) for frames in videos}
        if len(videos) != len(text) or len(lengths) != 1:
            raise ValueError(
                f"expected one prompt per clip and clips of one length, got {len(text)} prompts "
                f"for {len(videos)} clips of {sorted(lengths)} frames"
            )
        count = lengths.pop() * TOKENS_PER_FRAME
        rows = [expand(self.tokenizer, prompt, VIDEO, count) for prompt in text]
        pixels = [self._frames(frames) for frames in videos]
        inputs = {**pad_batch(self.tokenizer, rows), "pixel_values_videos": torch.stack(pixels)}
        return BatchFeature(inputs)

    def _frames(self, frames: Sequence[Image]) -> Tensor:
        return self.image_processor(list(frames), return_tensors="pt")["pixel_values"]

    def decode(self, *arguments, **options) -> str:
        """As the tokenizer's."""
        return self.tokenizer.decode(*arguments, **options)

    def batch_decode(self, *arguments, **options) -> list[str]:
        """As the tokenizer's."""
        return self.tokenizer.batch_decode(*arguments, **options)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the files of the image processor and of the tokenizer."""
        self.image_processor.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
