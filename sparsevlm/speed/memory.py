"""Peak memory of a forward pass, without weights and inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakBytes(TorchDispatchMode):
    """Sums the storages that are alive after every operator, on any device or on none.

    What a kernel uses inside itself is not seen; all tensors are.

    Parameters
    ----------
    known
        Tensors that were there before; their storages do not count.

    Attributes
    ----------
    peak : int
        Bytes.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.peak = 0
        # Held, so that no other storage can take the place of one of them.
        self._known = [tensor.untyped_storage() for tensor in known]
        self._skip = {storage._cdata for storage in self._known}
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self._alive = {key: one for key, one in self._alive.items() if not one[0].expired()}
        for value in tree_leaves(out):
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                if storage._cdata not in self._skip:
                    self._alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return out


def peak_bytes(job: Callable[[], object], known: Iterable[Tensor], device: str) -> int:
    """Return the most bytes that a job needs at once beyond what is there before it.

    Parameters
    ----------
    job
        Run once.
    known
        Weights and inputs.
    device
        On CUDA the allocator is asked; elsewhere the storages of all tensors are summed.
    """
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        job()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with PeakBytes(known) as counted:
        job()
    return counted.peak
