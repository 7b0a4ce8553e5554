"""What the runs of one benchmark compute alike, computed once.

They ask the same questions about the same images, and until the first token is dropped they do the
same: inputs, vision encoder, projector and first decoder layers. While `workers.execute_together`
answers a batch for one run after another, each part of these remembers its last input, and returns
its output again for one that is equal in every bit. Only evaluation uses this; timing (`bench`)
never.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from sparsevlm.models.prompt_builder import PromptBuilder
from sparsevlm.runtime.adapter import find_adapter

ENCODERS = (
    "vision_tower", "vision_tower_aux", "mining", "image_tower", "video_tower", "visual",
    "projector", "multi_modal_projector",
)  # fmt: skip
ATTENTION_PARTS = ("q_proj", "k_proj", "v_proj", "o_proj")


class SharedPrefix:
    """A context in which a model answers from memory what it has just been asked.

    Parameters
    ----------
    layers : int
        Decoder layers, from the first on, that remember too. What they keep for one batch is about
        13 hidden states each.
    """

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self._model: PreTrainedModel | None = None
        self._memories: list[_Memory] = []
        self._undo: list[Callable[[], object]] = []

    def __enter__(self) -> SharedPrefix:
        return self

    def __exit__(self, *_: object) -> None:
        for undo in reversed(self._undo):
            undo()
        self._model = None
        self._undo.clear()
        self._memories.clear()

    def install(self, model: PreTrainedModel, builder: PromptBuilder | None = None) -> None:
        """Let the parts of this model remember; once is enough, and again does nothing.

        Parameters
        ----------
        model : PreTrainedModel
        builder : PromptBuilder, optional
            Its inputs are remembered too.

        Raises
        ------
        ValueError
            It has no vision encoder of a known name.
        """
        if self._model is model:
            return
        self._model = model
        encoders = [found for name in ENCODERS if (found := getattr(model.model, name, None))]
        if not encoders:
            raise ValueError(f"no vision encoder in {type(model).__name__}; looked for {ENCODERS}")
        layers = find_adapter(model).decoder.layers[: self._layers]
        for module in (*encoders, *(part for layer in layers for part in _parts(layer))):
            self._replace(module, "forward")
        if builder is not None:
            self._replace(builder, "inputs")
        self._replace_kernel(
            model.get_decoder().config._attn_implementation,
            {layer.self_attn: self._memory() for layer in layers},
        )

    def forget(self) -> None:
        """Forget all inputs and outputs, and go on remembering."""
        for memory in self._memories:
            memory.forget()

    def _memory(self) -> _Memory:
        self._memories.append(_Memory())
        return self._memories[-1]

    def _replace(self, owner: nn.Module | PromptBuilder, name: str) -> None:
        before = vars(owner).get(name)
        recall = partial(self._memory().recall, getattr(owner, name))
        object.__setattr__(owner, name, recall)  # a builder is frozen

        def undo() -> None:
            object.__delattr__(owner, name)
            if before is not None:  # a wrapper of accelerate's
                object.__setattr__(owner, name, before)

        self._undo.append(undo)

    def _replace_kernel(self, name: str, memories: dict[nn.Module, _Memory]) -> None:
        """Replace an attention function of transformers; one inside a model's file stays."""
        kernel = AttentionInterface().get(name)
        if kernel is None:
            return

        def remembering(module: nn.Module, *args: object, **kwargs: object) -> object:
            if module in memories:
                return memories[module].recall(partial(kernel, module), *args, **kwargs)
            return kernel(module, *args, **kwargs)

        AttentionInterface.register(name, remembering)
        self._undo.append(partial(AttentionInterface.register, name, kernel))


def _parts(layer: nn.Module) -> Iterator[nn.Module]:
    """The parts of a decoder layer that are worth it, and have no effect but their output."""
    yield from (getattr(layer.self_attn, name) for name in ATTENTION_PARTS)
    yield layer.mlp


class _Memory:
    """The last input of a function, and its output."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._input, self._output = None, None

    def recall(self, function: Callable, *args: object, **kwargs: object) -> object:
        given = (args, sorted(kwargs.items()))
        if self._input is None or not _equal(self._input, given):
            output = function(*args, **kwargs)
            if _is_one_token(args):  # of an answer; the next run asks for the prompt again
                return output
            self._input, self._output = given, output
        if isinstance(self._output, Tensor | tuple):
            return self._output
        return copy.copy(self._output)  # some models put other tensors into the object they get


def _is_one_token(args: tuple) -> bool:
    first = next((value for value in args if isinstance(value, Tensor)), None)
    return first is not None and first.ndim > 2 and first.shape[-2] == 1


def _equal(one: object, other: object) -> bool:
    """Whether nested arguments are equal, tensors by dtype, device, shape and every element."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        same = (one.dtype, one.device, one.shape) == (other.dtype, other.device, other.shape)
        return same and torch.equal(one, other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one is other or (type(one) is type(other) and bool(one == other))
