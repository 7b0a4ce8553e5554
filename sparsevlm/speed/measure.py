"""How the bench measures: clocks, interleaved rounds, peak memory, numbers of operators.

A CPU is timed by the CPU time of one thread, and only ratios of it are reported: its wall time says
nothing about a GPU. A GPU is timed by events on its stream. Peak memory and operators are counts,
the same on every machine, and can be made on tensors without values.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median, quantiles

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sparsevlm.runtime.timing import Clock, CudaClock, ThreadClock

logger = logging.getLogger(__name__)

# By device: the clock, and what records call it.
CLOCKS = {"cpu": (ThreadClock, "CPU time of one thread"), "cuda": (CudaClock, "CUDA events")}
# These allocate memory or give a view of it and start no kernel; their schema does not say so.
_FREE = {"_unsafe_view", "empty", "empty_like", "new_empty", "empty_strided", "detach"}


def clock_of(device: str) -> Clock:
    """Return the clock of a device, a key of `CLOCKS`."""
    return CLOCKS[device][0]()


def interleaved(
    jobs: Mapping[str, Callable[[], object]], rounds: int, seed: int
) -> dict[str, list]:
    """Run all jobs in every round, in another order each time, so that drift falls on all alike.

    Returns what each job returned in every round, but for one run of each before the first round.

    Raises
    ------
    ValueError
        For fewer than two rounds, of which there is no spread.
    """
    if rounds < 2:
        raise ValueError(f"rounds must be at least 2 for a spread, got {rounds}")
    for job in jobs.values():
        job()
    order = random.Random(seed)
    found: dict[str, list] = {name: [] for name in jobs}
    for number in range(rounds):
        for name in order.sample(list(jobs), len(jobs)):
            found[name].append(jobs[name]())
        logger.info("round %d of %d", number + 1, rounds)
    return found


def spread(values: Sequence[float], digits: int = 6) -> dict[str, float]:
    """Median and quartiles."""
    low, _, high = quantiles(values, n=4)
    named = {"median": median(values), "low": low, "high": high}
    return {name: round(value, digits) for name, value in named.items()}


@contextmanager
def watched(
    modules: Mapping[str, nn.Module], clock: Clock
) -> Iterator[Callable[[], dict[str, float]]]:
    """Mark the time at which modules begin and end, and yield what tells the seconds between.

    The first run of each module counts (of a decoder: the prefill); one that did not run is left
    out.
    """
    starts: dict[str, object] = {}
    ends: dict[str, object] = {}

    def noting(marks: dict[str, object], name: str) -> Callable:
        def note(*args: object) -> None:
            if name not in marks:
                marks[name] = clock.mark()

        return note

    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_pre_hook(noting(starts, name)).remove)
            hooks.callback(module.register_forward_hook(noting(ends, name)).remove)
        yield lambda: {name: clock.seconds(starts[name], end) for name, end in ends.items()}


class _PeakBytes(TorchDispatchMode):
    """Sums the storages that are alive after every operator, on any device or on none.

    What a kernel uses inside itself is not seen; all tensors are. Storages of the `known` tensors,
    which were there before, do not count.
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
    """Return the most bytes that a job needs at once beyond weights and inputs, which are `known`.

    On CUDA the allocator is asked; elsewhere the storages of all tensors are summed.
    """
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        job()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with _PeakBytes(known) as counted:
        job()
    return counted.peak


class _Operators(TorchDispatchMode):
    """Counts operators: in all, and those that give a device something to do."""

    def __init__(self) -> None:
        super().__init__()
        self.total = self.kernels = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace != "prim":  # asks a tensor without values for its device
            self.total += 1
            self.kernels += not _is_free(func)
        return func(*args, **(kwargs or {}))


def _is_free(operator: OpOverload) -> bool:
    """Whether an operator only gives another view, or memory."""
    views = any(
        given.alias_info is not None and not given.alias_info.is_write
        for given in operator._schema.returns
    )
    return views or operator.overloadpacket.__name__ in _FREE


def count_operators(job: Callable[[], object], decoder: nn.Module | None = None) -> dict[str, int]:
    """Operators of a job, or only those between the beginning and the end of its decoder.

    What hooks do before the decoder runs is not counted.

    Returns
    -------
    dict
        ``total``: all, views included, what Python and torch's dispatcher are busy with;
        ``kernels``: those that compute or copy something, what a device gets to do.
    """
    counted = _Operators()

    def begin(*args: object) -> None:  # a hook that returns something would change the arguments
        counted.__enter__()

    with ExitStack() as stack:
        if decoder is None:
            stack.enter_context(counted)
        else:
            end = decoder.register_forward_hook(lambda *args: counted.__exit__(None, None, None))
            stack.callback(decoder.register_forward_pre_hook(begin).remove)
            stack.callback(end.remove)
        job()
    return {"total": counted.total, "kernels": counted.kernels}
