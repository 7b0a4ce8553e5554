"""Tensors that say they lie on a device which this machine does not have.

A `Placed` tensor has its numbers on the CPU and the name of a device. As on real devices, an
operation on tensors of two devices fails, and only a copy goes from one to the other. So what a
model would compute on two GPUs is computed for real, and what would fail there fails here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

FIRST, SECOND = "ipu:0", "ipu:1"  # a kind of device that torch knows by name only
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


def _each(change, things):
    """`change` of every tensor in there; the rest as it is."""
    if isinstance(things, Tensor):
        return change(things)
    if isinstance(things, (tuple, list)):
        return type(things)(_each(change, thing) for thing in things)
    if isinstance(things, dict):
        return {key: _each(change, thing) for key, thing in things.items()}
    return things


def _device_of(things: object) -> torch.device:
    """The one device of all tensors in there; a single number on the CPU goes with any."""
    places = set()
    _each(lambda x: places.add(x.device) if x.ndim or isinstance(x, Placed) else None, things)
    if len(places) > 1:
        raise RuntimeError(f"tensors lie on {', '.join(sorted(map(str, places)))}")
    return places.pop() if places else torch.device("cpu")


def _numbers(things: object) -> object:
    return _each(lambda x: x.numbers if isinstance(x, Placed) else x, things)


def _run(function: torch._ops.OpOverload, args: tuple, kwargs: dict) -> object:
    """One operation: on the device that is asked for, else on that of its tensors."""
    asked = kwargs.get("device")
    if asked is not None:
        kwargs = {**kwargs, "device": "cpu"}
    device = args[0].device if function in COPIES else _device_of((args, kwargs))
    args_in, kwargs_in = _numbers((args, kwargs))
    result = function(*args_in, **kwargs_in)
    if function._schema.is_mutable:
        return args[0]
    return placed(result, asked or device)


def placed(things: object, device: str | torch.device) -> object:
    """All tensors in there, said to lie on a device."""
    if torch.device(device).type == "cpu":
        return things
    return _each(lambda x: Placed(x, torch.device(device)), things)


class Placed(Tensor):
    """Numbers on the CPU that say they lie on ``device``."""

    @staticmethod
    def __new__(cls, numbers: Tensor, device: torch.device) -> Placed:
        return Tensor._make_wrapper_subclass(
            cls, numbers.shape, numbers.stride(), numbers.storage_offset(),
            dtype=numbers.dtype, device=device,
        )  # fmt: skip

    def __init__(self, numbers: Tensor, device: torch.device) -> None:
        self.numbers = numbers

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})

    # torch looks for the device's driver before it gets to dispatch these.
    def contiguous(self, memory_format=torch.contiguous_format):
        return placed(self.numbers.contiguous(memory_format=memory_format), self.device)

    def nonzero(self):
        return placed(self.numbers.nonzero(), self.device)

    def __invert__(self):
        return placed(~self.numbers, self.device)

    def __bool__(self):
        return bool(self.numbers)

    def tolist(self):
        return self.numbers.tolist()

    def __getitem__(self, index):
        return placed(self.numbers[_numbers(index)], _device_of((self, index)))

    def __setitem__(self, index, value):
        _device_of((self, index, value))
        self.numbers[_numbers(index)] = _numbers(value)


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class _Factories(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is not torch.tensor:
            return function(*args, **kwargs)
        device = kwargs.pop("device", None)
        return placed(function(*args, **kwargs), device or "cpu")


@contextmanager
def devices() -> Iterator[None]:
    """Inside, `FIRST` and `SECOND` are devices."""
    with _Factories(), _Operations(), torch.no_grad():
        yield


def dispatch(model: nn.Module, device_map: dict[str, str]) -> nn.Module:
    """Spread a model as accelerate does: every part moves what it is called with to its device."""
    for name, device in device_map.items():
        module = model.get_submodule(name)
        for part in module.modules():
            for kind in (part._parameters, part._buffers):
                kind.update({key: _moved(x, device) for key, x in kind.items()})
        module.forward = _moving(module.forward, device)
    return model


def _moved(tensor: Tensor | None, device: str) -> Tensor | None:
    if tensor is None:
        return None
    new = tensor.detach().to(device)
    return nn.Parameter(new, requires_grad=False) if isinstance(tensor, nn.Parameter) else new


def _moving(forward, device: str):
    @functools.wraps(forward)
    def moved(*args, **kwargs):
        args, kwargs = _each(lambda x: x.to(device), (args, kwargs))
        return forward(*args, **kwargs)

    return moved
