"""capture(model): the prefill of a layout of tokens is traced once, and replayed from then on.

At batch 1 a fast GPU waits for Python. A prefill whose counts are fixed is the same sequence of
operators for every prompt of one layout, so it is traced once, pruning and cache included, and only
the operators run from then on: on CUDA as one CUDA graph, elsewhere one by one. Works with
`prune(..., static=True)` and, for a fair comparison, for the dense model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from transformers import DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPast

from sparsevlm.runtime import graphs
from sparsevlm.runtime.adapter import find_adapter
from sparsevlm.runtime.graphs import Run, TensorTemplate
from sparsevlm.runtime.hooks import mark_filled
from sparsevlm.runtime.prefill import Prefill
from sparsevlm.runtime.session import PruningSession, session_of

ARGUMENTS = ("input_ids", "inputs_embeds", "attention_mask", "position_ids", "past_key_values",
             "use_cache")  # fmt: skip


def capture(
    model: nn.Module,
    *,
    visual_mask: Tensor | tuple[int, int] | None = None,
    limit: int = 8,
    backend: Callable[[GraphModule, list[Tensor]], Run] | None = None,
) -> Captured:
    """Replay the decoder's prefill inside the with block, instead of running its modules.

    Calls and `generate` work as before and give the same; vision tower and decoding are left as
    they are. May stand inside or around the block of `prune`: graphs are kept by pruner and by
    layout (batch, lengths, place of the visual tokens, padding, types). No prefill runs without a
    graph silently: a new layout is captured (`Captured.captures` counts), and one beyond
    ``limit`` is an error. The one wait for the device left is to find the visual tokens of a
    prompt; there is none where they are given as a span.

    Parameters
    ----------
    model
        In eval mode. Its weights may change in place, not be replaced. No gradients.
    visual_mask
        As for `prune`.
    limit
        Most graphs that are kept; each holds the intermediate tensors of its prefill on CUDA.
    backend
        ``backend(graph, inputs)`` returns what is run in place of the graph, e.g. ``lambda graph,
        inputs: torch.compile(graph)``. ``None``: `cuda_graph` on CUDA, elsewhere the graph itself.

    Returns
    -------
    Captured
        For a with statement; counts what was captured and replayed. It may be entered again later,
        and has its graphs still.

    Raises
    ------
    TypeError
        For a model of an unknown architecture.
    RuntimeError
        On entering, if the model is already being captured; at a call, for more layouts than
        ``limit``.
    ValueError
        At a call: for a method whose counts depend on values, for ``static=False``, and for what a
        graph does not give (attention maps, hidden states of all layers, training, no cache).

    Examples
    --------
    >>> with capture(model) as graphs, prune(model, pruner, static=True):
    ...     model.generate(**inputs)
    >>> graphs.captures, graphs.replays
    (1, 1)
    """
    decoder = find_adapter(model, visual_mask).decoder
    return Captured(decoder, limit, backend or graphs.default_backend)


@dataclass(frozen=True)
class _Graph:
    """A captured prefill: how to run it, its number of operators, what it leaves to later steps."""

    run: Run
    operators: int
    rest: TensorTemplate


class Captured:
    """The graphs of one model; made by `capture`.

    Attributes
    ----------
    captures, replays : int
        Prefills that were traced, and prefills that ran from a graph (the traced ones included).
    """

    def __init__(self, decoder: Any, limit: int, backend: Callable) -> None:
        self._decoder = decoder
        self._limit, self._backend = limit, backend
        self._graphs: dict[tuple, _Graph] = {}
        self.captures = self.replays = 0

    def __enter__(self) -> Captured:
        decoder = self._decoder
        if graphs.is_replaced(decoder):
            raise RuntimeError(
                f"the forward of this {type(decoder).__name__} is already replaced; leave the "
                "outer capture() first (where no block is left to leave, sparsevlm.reset(model) "
                "does it), or take off what else replaced it, such as accelerate's hooks"
            )
        self._original = decoder.forward
        self._signature = inspect.signature(self._original)
        try:
            decoder.forward = graphs.Replacement(decoder, self._forward)
            return self
        except BaseException:  # an interrupt, for which __exit__ is not called
            self.__exit__()
            raise

    def __exit__(self, *error: object) -> None:
        vars(self._decoder).pop("forward", None)  # gone, if the model was reset meanwhile

    @property
    def operators(self) -> list[int]:
        """Operators on tensors of every graph, in the order of capture."""
        return [graph.operators for graph in self._graphs.values()]

    @torch.no_grad()
    def _forward(self, *args: object, **kwargs: object) -> BaseModelOutputWithPast:
        """In place of the decoder's own: a prefill is replayed, decoding runs as it is."""
        given = self._signature.bind(*args, **kwargs).arguments
        given = {**given, **given.pop("kwargs", {})}
        cache = given.get("past_key_values")
        if cache is not None and cache.get_seq_length() > 0:
            return self._original(*args, **kwargs)
        extras = _check(self._decoder, given)
        session = session_of(self._decoder)
        state = None if session is None else _state(session)
        tensors = self._tensors(given, state)
        key = self._key(tensors, extras, session)
        if key not in self._graphs:
            if len(self._graphs) >= self._limit:
                raise RuntimeError(
                    f"capture() holds {len(self._graphs)} graphs, as many as limit={self._limit} "
                    "allows, and this prompt has another layout (batch, lengths, place of the "
                    "visual tokens, padding, pruner); pad to few lengths, or give a larger limit"
                )
            self._graphs[key] = self._capture(tensors, extras, session)
            self.captures += 1
        graph = self._graphs[key]
        outputs = graph.run(*(tensor for tensor in tensors if tensor is not None))
        self.replays += 1
        cache = DynamicCache(config=self._decoder.config) if cache is None else cache
        if session is not None and state is not None:
            mark_filled(cache, state, session, session.ids)
        return self._finish(outputs, graph, cache, state)

    def _tensors(self, given: dict, state: Prefill | None) -> list[Tensor | None]:
        """Embeddings, positions and the mask of a prefill; all that a graph depends on."""
        embeds = given.get("inputs_embeds")
        if embeds is None:
            embeds = self._decoder.embed_tokens(given["input_ids"])
        mask = given.get("attention_mask")
        if mask is not None:
            # A mask without padding is none to the model itself, whose kernels then are causal.
            padded = not bool(mask.all()) if state is None else state.padded
            mask = mask if padded else None
        return [embeds, given.get("position_ids"), mask]

    def _key(
        self, tensors: list[Tensor | None], extras: dict, session: PruningSession | None
    ) -> tuple:
        kinds = tuple(
            None if one is None else (tuple(one.shape), one.stride(), one.dtype, one.device)
            for one in tensors
        )
        key = (kinds, tuple(sorted(extras.items())), self._decoder.config._attn_implementation)
        if session is None:
            return key
        state = _state(session)
        layout = tuple(sample.sizes for sample in state.first)
        return (*key, session.pruner, session.trace is not None, layout)

    def _capture(
        self, tensors: list[Tensor | None], extras: dict, session: PruningSession | None
    ) -> _Graph:
        """Trace a prefill on tensors without values: code that needs a value fails."""
        rest, state = TensorTemplate(), None if session is None else _state(session)

        def prefill(*present: Tensor) -> list[Tensor]:
            given = iter(present)
            embeds, positions, mask = (None if t is None else next(given) for t in tensors)
            cache = graphs.collecting_cache(len(self._decoder.layers))
            begun = None if state is None else _begun(state)
            if session is not None:
                session.current, session.position_ids = begun, positions
            out = self._original(
                inputs_embeds=embeds, position_ids=positions, attention_mask=mask,
                past_key_values=cache, use_cache=True, **extras,
            )  # fmt: skip
            if session is not None and begun is not None:
                rest.fill(_left(begun, session.trace is not None))
            keys = [layer.keys for layer in cache.layers]
            values = [layer.values for layer in cache.layers]
            return [out.last_hidden_state, *keys, *values, *rest.made]

        present = [tensor for tensor in tensors if tensor is not None]
        # First with values: what a method works out once and keeps must not be kept without them.
        prefill(*present)
        name = type(self._decoder if state is None else state.pruner).__name__
        graph = graphs.trace(prefill, present, name)
        if session is not None:
            session.current = state
        operators = graphs.count_operators(graph)
        return _Graph(self._backend(graph, present), operators, rest.closed())

    def _finish(
        self, outputs: Sequence[Tensor], graph: _Graph, cache: DynamicCache, state: Prefill | None
    ) -> BaseModelOutputWithPast:
        count = len(self._decoder.layers)
        hidden, keys, values = outputs[0], outputs[1 : count + 1], outputs[count + 1 :]
        for index in range(count):
            cache.update(keys[index], values[index], index)  # copies
        if state is not None:
            # Copies: the next run of the graph may overwrite its outputs.
            made = [tensor.clone() for tensor in outputs[2 * count + 1 :]]
            vars(state).update(graph.rest.filled(made))
        return BaseModelOutputWithPast(last_hidden_state=hidden.clone(), past_key_values=cache)


def _check(decoder: Any, given: dict) -> dict[str, object]:
    """Check that a graph can answer a call; returns the arguments that it passes on."""
    if decoder.training:
        raise ValueError("capture() is for inference: call model.eval() first")
    if given.get("use_cache") is False and given.get("past_key_values") is None:
        raise ValueError(
            "capture() fills a cache, and the call says use_cache=False; leave it out, or leave "
            "the with block"
        )
    extras = {k: value for k, value in given.items() if k not in ARGUMENTS and value is not None}
    refused = [name for name, value in extras.items()
               if isinstance(value, Tensor)
               or (name.startswith("output_") and value)
               or (name == "return_dict" and not value)]  # fmt: skip
    if refused:
        raise ValueError(
            f"capture() cannot replay a prefill with {', '.join(refused)}; leave the with block "
            "for such a call"
        )
    mask = given.get("attention_mask")
    if mask is not None and (not isinstance(mask, Tensor) or mask.ndim != 2):
        raise ValueError("capture() needs a 2-D attention_mask [batch, tokens], or none")
    return extras


def _state(session: PruningSession) -> Prefill:
    """The prefill that is beginning under `prune`."""
    state = session.current
    if state is None:
        raise ValueError(
            f"under prune() call the whole {type(session.model).__name__}, not a part of it"
        )
    if not state.static:
        raise ValueError(
            "capture() needs counts that are known beforehand: give prune(model, pruner, "
            "static=True) and a method whose counts are fixed"
        )
    return state


def _begun(state: Prefill) -> Prefill:
    """The same prefill, at its beginning."""
    return Prefill(
        state.pruner, state.adapter, state.first, state.mask, state.prompt_key, state.static
    )  # fmt: skip


def _left(state: Prefill, traced: bool) -> dict[str, object]:
    """What decode steps and the trace need of a finished prefill."""
    for image in (image for sample in state.groups for image in sample.images):
        image.cache.clear()
    # Decode steps get tables of their own.
    without: Any = {"cos": None, "sin": None, "arguments": {}}
    segments = [replace(segment, **without) for segment in state.segments]
    left: dict[str, object] = {"segments": segments, "segment_of": state.segment_of}
    if traced:
        left |= {"decisions": state.decisions, "samples": state.samples}
    return left
