"""The features of the last images, kept: every run of a benchmark asks about the same ones.

A vision encoder sees no budget and no method, so its output for the same pixels is the same tensor
in every run. Only evaluation uses this; timing (`bench`) never does.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

ENCODERS = ("vision_tower", "vision_tower_aux", "image_tower", "video_tower", "visual")
BATCHES = 16  # per encoder; a whole benchmark of the mini profile


def remember_vision(model: nn.Module, batches: int = BATCHES) -> None:
    """Let the vision encoders of a model answer from memory for inputs they have just seen.

    Parameters
    ----------
    model : Module
        Its ``model`` holds the encoders (`ENCODERS`).
    batches : int
        Outputs kept for each; the one used longest ago makes room. An input that does not come
        again costs a digest of its pixels and nothing else.

    Raises
    ------
    ValueError
        There is no encoder of these names.
    """
    found = [getattr(model.model, name, None) for name in ENCODERS]
    found = [encoder for encoder in found if encoder is not None]
    if not found:
        raise ValueError(f"no vision encoder in {type(model).__name__}; looked for {ENCODERS}")
    for encoder in found:
        encoder.forward = _Remembered(encoder.forward, batches)


def forget_vision(model: nn.Module) -> None:
    """Forget what the encoders of `remember_vision` have kept, and go on remembering."""
    for name in ENCODERS:
        forward = getattr(getattr(model.model, name, None), "forward", None)
        if isinstance(forward, _Remembered):
            forward.forget()


class _Remembered:
    """A forward that keeps its last outputs by the bytes of everything it is called with."""

    def __init__(self, forward, batches: int) -> None:
        self._forward, self._batches = forward, batches
        self._outputs: OrderedDict[str, object] = OrderedDict()

    def forget(self) -> None:
        self._outputs.clear()

    def __call__(self, *args, **kwargs):
        key = _key((args, sorted(kwargs.items())))
        if key in self._outputs:
            self._outputs.move_to_end(key)
        else:
            self._outputs[key] = self._forward(*args, **kwargs)
            if len(self._outputs) > self._batches:
                self._outputs.popitem(last=False)
        # Some models put other tensors into the output that they get.
        return copy.copy(self._outputs[key])


def _key(value: object) -> str:
    """A digest of nested arguments, of tensors by dtype, shape and bytes."""
    import torch

    from sparsevlm.evaluation.results.run import digest

    if isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        return digest(f"{value.dtype} {tuple(value.shape)} {value.device}", flat.numpy().tobytes())
    if isinstance(value, list | tuple):
        return digest(*map(_key, value))
    return repr(value)
