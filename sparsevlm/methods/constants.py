"""Numbers that do not depend on the prompt, kept on the device that once needed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, device

MOST = 64  # tensors kept
_KNOWN: dict[tuple, Tensor] = {}


def on_device(values: tuple[int, ...], where: device) -> Tensor:
    """``[len(values)]`` int64 on a device; the host waits for the copy the first time only.

    Parameters
    ----------
    values
        Whole numbers.
    where
        The device.
    """
    import torch

    key = values, where
    if key not in _KNOWN:
        tensor = torch.tensor(values, dtype=torch.int64, device=where)
        # A tensor without memory, or one that is being traced, is not kept.
        if type(tensor) is not torch.Tensor:
            return tensor
        if len(_KNOWN) == MOST:
            del _KNOWN[next(iter(_KNOWN))]
        _KNOWN[key] = tensor
    return _KNOWN[key]
