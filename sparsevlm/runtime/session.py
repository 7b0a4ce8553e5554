"""The hooks that a model carries while it is pruned: from its calls to the steps of a `Prefill`."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from sparsevlm.core.interface import Pruner, phase
from sparsevlm.runtime import layout
from sparsevlm.runtime.adapter import find_adapter, unwrap
from sparsevlm.runtime.attention import QueriesKeys, project, watch_attention
from sparsevlm.runtime.checks import check_cache, check_pruner, check_static
from sparsevlm.runtime.prefill import Prefill
from sparsevlm.runtime.prompt_key import prompt_key
from sparsevlm.runtime.trace import Trace


class PruningSession:
    """A model under one pruner.

    Parameters are those of `prune`.

    Attributes
    ----------
    current
        The prompt of the call now running; ``None`` between calls.
    states
        The prompts by their caches, for calls that continue one.
    """

    @phase("session")
    def __init__(
        self,
        model: nn.Module,
        pruner: Pruner,
        visual_mask: Tensor | tuple[int, int] | None,
        trace: bool,
        static: bool | None,
    ) -> None:
        if static:
            check_static(pruner)
        self.model, self.pruner, self.static = unwrap(model), pruner, static
        self.adapter = find_adapter(model, visual_mask)
        self.span = visual_mask if isinstance(visual_mask, tuple) else None
        self.trace = Trace(pruner.to_json()) if trace else None
        self.states: weakref.WeakKeyDictionary[object, Prefill] = weakref.WeakKeyDictionary()
        self.current: Prefill | None = None
        self.continuing = False
        self.attention_mask: Tensor | None = None
        self.position_ids: Tensor | None = None
        self.prompt: tuple[Tensor, int] | None = None
        self.logits_to_keep: object = None
        num_layers = len(self.adapter.decoder.layers)
        self.layers = [i for i in range(-1, num_layers - 1) if pruner.prunes_after(i)]
        check_pruner(pruner, self.layers, self.adapter, type(model).__name__)

    @phase("session")
    def attach(self, stack: ExitStack) -> None:
        """Set all hooks; leaving the stack removes them."""

        def hook(register: Callable, function: Callable, **how: bool) -> None:
            stack.callback(register(Hook(function), with_kwargs=True, **how).remove)

        hook(self.model.register_forward_pre_hook, self._before_model)
        self.adapter.attach(hook)
        base, decoder = self.adapter.base, self.adapter.decoder
        hook(base.register_forward_pre_hook, self._before_base)
        hook(decoder.register_forward_pre_hook, self._before_decoder)
        # Also after an exception, so that the next call starts clean.
        hook(base.register_forward_hook, self._after_base, always_call=True)
        for index, layer in enumerate(decoder.layers):
            hook(layer.register_forward_pre_hook, partial(self._before_layer, index))
        if self.pruner.needs_attention and self.pruner.scored_layer == "this":
            for index in self.layers:
                attention = decoder.layers[index].self_attn
                stack.callback(watch_attention(attention, partial(self._keep_attention, index)))

    def _before_model(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        arguments = arguments_of(module, args, kwargs)
        self.logits_to_keep = arguments.get("logits_to_keep")
        if arguments.get("labels") is not None:
            raise ValueError(
                "labels cannot be used under prune(): the logits are shorter than the labels; "
                "compute the loss outside, with SampleTrace.output_index as the map"
            )

    def _before_base(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        """Begin a prompt, or find the one that the call continues."""
        arguments = arguments_of(module, args, kwargs)
        cache = arguments.get("past_key_values")
        check_cache(cache)
        mask = arguments.get("attention_mask")
        if mask is not None and mask.ndim != 2:
            raise ValueError(
                f"prune() needs a 2-D attention_mask [batch, tokens], got {mask.ndim} dimensions"
            )
        self.attention_mask = mask
        cached = 0 if cache is None else cache.get_seq_length()
        self.continuing = cached > 0
        if self.continuing:
            self.current = self.states.get(cache)
            if self.current is None:
                raise ValueError(
                    "this cache was not filled under this prune(); run the prompt inside the "
                    "same with block"
                )
            self.current.check_continued(arguments.get("input_ids"), cached)
            return
        visual = self.adapter.visual_mask(arguments)
        prompt_length = self._prompt_length(arguments, visual.shape[1])
        samples = self._locate(visual, mask, prompt_length)
        key = prompt_key(self.adapter, arguments, visual, prompt_length)
        grids = self.adapter.grids(arguments, [sample.visual for sample in samples])
        ids = arguments.get("input_ids")
        static = visual.device.type != "cpu" if self.static is None else self.static
        self.current = Prefill(self.pruner, self.adapter, samples, mask, grids, key, ids, static)

    def _locate(
        self, visual: Tensor, mask: Tensor | None, prompt_length: int
    ) -> tuple[layout.SampleLayout, ...]:
        if self.span is None or mask is not None:
            return layout.locate(visual, mask, prompt_length)
        batch, length = visual.shape
        return layout.locate_span((batch, length), self.span, prompt_length, visual.device)

    def _before_decoder(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self.position_ids = arguments_of(module, args, kwargs).get("position_ids")

    def _prompt_length(self, arguments: dict, length: int) -> int:
        """Tokens of the prompt: generation without a cache sends it again, one token longer, and
        assisted generation sends its first candidates along.
        """
        ids, known = arguments.get("input_ids"), self.prompt
        prompt_length = length - self._num_candidates(arguments)
        if ids is None:
            return prompt_length
        if arguments.get("use_cache") is False and known is not None:
            prompt, last = known
            grown = ids.shape[0] == prompt.shape[0] and length == last + 1
            if grown and torch.equal(ids[:, : prompt.shape[1]], prompt):
                self.prompt = (prompt, length)
                return prompt.shape[1]
        self.prompt = (ids[:, :prompt_length], length)
        return prompt_length

    def _num_candidates(self, arguments: dict) -> int:
        """Tokens behind the prompt that assisted generation wants to have judged."""
        # It asks for the logits of every candidate and of the token before; `generate` brings an
        # empty cache, which tells its calls from others that want several logits.
        wanted = self.logits_to_keep
        if isinstance(wanted, int) and arguments.get("past_key_values") is not None:
            return max(wanted - 1, 0)
        return 0

    def _after_base(self, module: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
        state, self.current, self.logits_to_keep = self.current, None, None
        if state is None:
            return
        state.finish()
        # On an exception the hook runs with output None: an unfinished prefill is no trace.
        if output is not None and not self.continuing and self.trace is not None:
            self.trace.record(state.trace)

    def _keep_attention(self, index: int, found: QueriesKeys) -> None:
        if self.current is not None and not self.continuing:
            self.current.keep_attention(index, found)

    def _before_layer(
        self, index: int, module: nn.Module, args: tuple, kwargs: dict
    ) -> tuple[tuple, dict]:
        """Drop tokens where a stage comes before this layer; give the layer what fits the rest."""
        state = self.current
        if state is None:
            raise ValueError(
                f"under prune() call the whole {type(self.model).__name__}, not a part of it"
            )
        hidden, *rest = args
        if self.continuing:
            return args, state.proceed(index, hidden, kwargs, self.attention_mask)
        if index == 0:
            state.start(hidden, kwargs, self.position_ids)
            cache = kwargs.get("past_key_values")
            if cache is not None:
                self.states[cache] = state
        if index - 1 in self.layers:
            if self.pruner.needs_attention and self.pruner.scored_layer == "next":
                segment = state.segments[-1]
                found = project(module, hidden, segment.cos, segment.sin)
                state.keep_attention(index - 1, found)
            hidden = state.prune(index - 1, hidden)
        return (hidden, *rest), state.enter(index, hidden, kwargs)


class Hook:
    """A hook of one session. A copy of the model, or a pickle of it, gets an inert one."""

    def __init__(self, function: Callable) -> None:
        self.function = function

    @phase("hooks")
    def __call__(self, *args: object) -> object:
        return self.function(*args)

    def __reduce__(self) -> tuple:
        return Hook, (_nothing,)


def _nothing(*args: object) -> None:
    """What the hooks of a copied model do."""


def arguments_of(module: nn.Module, args: tuple, kwargs: dict) -> dict:
    """All arguments of a call by name."""
    if not args:
        return kwargs
    bound = inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments
    return {**bound, **bound.pop("kwargs", {})}
