"""A number that identifies a prompt, whatever batch it comes in."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import torch
from torch import Tensor

from sparsevlm.runtime.adapter import Adapter


def prompt_key(
    adapter: Adapter, arguments: dict, visual: Tensor, prompt_length: int
) -> Callable[[int, Tensor], int]:
    """Function of a row and its embeddings: a checksum of the prompt's ids and pixels.

    Embeddings differ in the last bits between batches, so they count only where there are no ids.

    Parameters
    ----------
    adapter, arguments, visual
        Of the model, of the call, and `Adapter.visual_mask`.
    prompt_length
        Leading tokens of the row, padding included, that are prompt.
    """
    ids = arguments.get("input_ids")
    mask = arguments.get("attention_mask")

    def key(row: int, inputs: Tensor) -> int:
        if ids is None:
            return _checksum(inputs)
        chosen = ~visual[row] if mask is None else ~visual[row] & mask[row].bool()
        text = ids[row][chosen][: int(chosen[:prompt_length].sum())]
        value = _checksum(text)
        pixels = adapter.pixels(arguments, visual, row)
        if pixels is not None:
            value = crc32(value.to_bytes(4, "little"), _checksum(pixels))
        return value

    return key


def _checksum(tensor: Tensor) -> int:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return crc32(tensor.contiguous().numpy().tobytes())
