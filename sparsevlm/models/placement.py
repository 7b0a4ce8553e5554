"""Weights to their device one by one, so that main memory never holds a copy of them all.

safetensors maps a file into memory: weights that were read and not converted take no memory of
their own, and what was read of the file is the system's cache, which all processes share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Parameter
from transformers import PreTrainedModel
from transformers.utils import logging


def stored_dtype(weights: Iterable[Tensor]) -> torch.dtype:
    """Return the floating type of most values, in which they can be loaded without a conversion.

    Parameters
    ----------
    weights
        Of a checkpoint, as they are in its files. Without any the type is float32.
    """
    sizes = Counter({torch.float32: 0})
    for weight in weights:
        if weight.is_floating_point():
            sizes[weight.dtype] += weight.numel()
    return sizes.most_common(1)[0][0]


def place(model: PreTrainedModel, device: str, dtype: torch.dtype) -> None:
    """Convert the weights of a model and move it to a device; at most one weight is there twice.

    Buffers keep their type, as `from_pretrained` leaves them: the angles of rotary embeddings would
    lose digits.
    """
    for weight in model.parameters():
        there = weight.detach().to(device, dtype)
        torch.utils.swap_tensors(weight, Parameter(there, weight.requires_grad))
    model.to(device)
    for part in model.modules():
        if isinstance(part, PreTrainedModel):
            part.config.dtype = dtype


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """No bar of transformers, which stays in a notebook; the user's setting comes back after it."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def gpu_of(worker: str, count: int) -> str:
    """Return the device of a worker process: several workers go round all GPUs.

    Parameters
    ----------
    worker : str
        Name of the process; multiprocessing numbers the workers of a command: "SpawnProcess-3".
    count : int
        GPUs that torch sees.

    Returns
    -------
    str
        "cuda:N", or "cuda" where there is no choice, or no worker.
    """
    number = worker.rpartition("-")[2]
    return f"cuda:{(int(number) - 1) % count}" if count > 1 and number.isdigit() else "cuda"
