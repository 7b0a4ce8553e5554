"""What `capture` is made of: tracing, running a graph, calling it, a cache, places for tensors."""

from __future__ import annotations

import functools
import io
import pickle
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
)
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils._pytree import tree_leaves
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from sparsevlm.runtime.hooks import ORIGINAL

Run = Callable[..., Sequence[Tensor]]
SYMBOLS = (torch.SymInt, torch.SymFloat, torch.SymBool)
DEPENDS_ON_VALUES = (
    DataDependentOutputException, DynamicOutputShapeException, GuardOnDataDependentSymNode,
)  # fmt: skip


def trace(function: Callable, inputs: list[Tensor], name: str) -> GraphModule:
    """The operators of a function, found on tensors without values: code that reads one fails.

    Parameters
    ----------
    function, inputs
        What is traced. Tensors that are not inputs, like weights, stay what they are.
    name
        Whose prefill it is, for the error.

    Raises
    ------
    ValueError
        If it needs values, or shapes that depend on values.
    """
    try:
        graph = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)
    except DEPENDS_ON_VALUES as error:
        raise ValueError(_refusal(name, type(error).__name__)) from error
    for node in graph.graph.nodes:
        if not all(map(_is_known, tree_leaves(node.meta.get("val")))):
            raise ValueError(_refusal(name, str(node.target)))
    return graph


def _is_known(value: object) -> bool:
    """Whether a number, or the shape of a tensor, is the same for all values."""
    sizes = value.shape if isinstance(value, Tensor) else [value]
    return not any(isinstance(size, SYMBOLS) for size in sizes)


def _refusal(name: str, what: str) -> str:
    return (
        f"the prefill of {name} cannot be captured: it needs values, or shapes that depend on "
        f"values ({what}); capture() is for methods with fixed counts, e.g. SparseVLM with "
        "budgets, and for the dense model"
    )


def count_operators(graph: GraphModule) -> int:
    """Operators on tensors that a graph runs, views included."""
    return sum(isinstance(node.target, OpOverload) for node in graph.graph.nodes)


def default_backend(graph: GraphModule, inputs: list[Tensor]) -> Run:
    """`cuda_graph` for inputs on CUDA, elsewhere the graph as it is."""
    return cuda_graph(graph, inputs) if inputs[0].is_cuda else graph


def cuda_graph(graph: Callable, inputs: list[Tensor]) -> Run:
    """Record a function in a CUDA graph with buffers of its own for the inputs.

    Parameters
    ----------
    graph
        Runs on the current stream and never waits for the device.
    inputs
        Tensors of the shapes that it will get.

    Returns
    -------
    Callable
        Its outputs are overwritten by its next run.
    """
    buffers = [tensor.clone() for tensor in inputs]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        graph(*buffers)  # what libraries set up at their first call may not be recorded
    torch.cuda.current_stream().wait_stream(stream)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        outputs = graph(*buffers)

    def run(*new: Tensor) -> Sequence[Tensor]:
        for buffer, tensor in zip(buffers, new, strict=True):
            buffer.copy_(tensor)
        recorded.replay()
        return outputs

    return run


class Replacement:
    """Runs in place of a module's forward. A copy of the module, or a pickle, has its own again.

    Parameters
    ----------
    module, function
        Whose forward it is, and what runs.
    """

    def __init__(self, module: Any, function: Callable) -> None:
        functools.update_wrapper(self, module.forward)
        setattr(self, ORIGINAL, module.forward)
        self.module, self.function = module, function

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self.function(*args, **kwargs)

    def __reduce__(self) -> tuple:
        return _own, (self.module,)


def _own(module: Any) -> MethodType:
    return MethodType(type(module).forward, module)


def is_replaced(module: Any) -> bool:
    """Whether the forward of a module is not that of its class."""
    own = vars(module).get("forward")
    return own is not None and getattr(own, "__func__", None) is not type(module).forward


class _CollectingLayer(DynamicLayer):
    """Holds what a layer computed, as it is: an empty cache has nothing to put before it."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object):
        """Keep keys and values."""
        self.keys, self.values, self.is_initialized = key_states, value_states, True
        return key_states, value_states


def collecting_cache(num_layers: int) -> DynamicCache:
    """A cache for one prefill that adds no operators to it."""
    cache = DynamicCache()
    cache.layers = [_CollectingLayer() for _ in range(num_layers)]
    return cache


class TensorTemplate:
    """An object with places in it for the tensors that a graph computes.

    Attributes
    ----------
    made : list of Tensor
        The tensors of the trace that stand for them, in order.
    """

    def __init__(self) -> None:
        self.made: list[Tensor] = []
        self._constants: list[Tensor] = []
        self._content = pickle.dumps({})

    def fill(self, content: dict[str, object]) -> None:
        """Take an object apart into plain bytes and tensors; replaces what was there before."""
        self.made, self._constants = [], []
        places: dict[int, tuple[str, int]] = {}

        class Pickler(pickle.Pickler):
            def persistent_id(_, value: object) -> tuple[str, int] | None:
                if not isinstance(value, Tensor):
                    return None
                of = self.made if isinstance(value, FakeTensor) else self._constants
                if id(value) not in places:
                    places[id(value)] = ("made" if of is self.made else "constant", len(of))
                    of.append(value)
                return places[id(value)]

        buffer = io.BytesIO()
        Pickler(buffer).dump(content)
        self._content = buffer.getvalue()

    def closed(self) -> TensorTemplate:
        """The same without the tensors of the trace."""
        self.made = []
        return self

    def filled(self, made: Sequence[Tensor]) -> dict[str, object]:
        """The object again, with the tensors of this run in their places."""
        tensors = {"made": made, "constant": self._constants}

        class Unpickler(pickle.Unpickler):
            def persistent_load(_, place: tuple[str, int]) -> Tensor:
                return tensors[place[0]][place[1]]

        return Unpickler(io.BytesIO(self._content)).load()
