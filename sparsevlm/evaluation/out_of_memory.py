"""Recognising that memory ran out, and giving back what can be given back."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from sparsevlm.evaluation.vision_cache import forget_vision

if TYPE_CHECKING:
    from torch import nn

# In the words of torch's allocators for CUDA and the CPU (Linux, Windows) and of cuBLAS. Only the
# first has an exception of its own, and not on every way.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, the GPU's or the machine's, ran out."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def free_memory(model: nn.Module) -> None:
    """Forget kept vision features and return unused memory to the device.

    Call it outside of the ``except`` block: while an error is handled, its traceback holds the
    tensors of every frame.
    """
    import torch

    forget_vision(model)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
