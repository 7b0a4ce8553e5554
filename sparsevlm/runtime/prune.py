"""prune(model, pruner): the only entry that touches a model.

Hooks only: the model is pruned inside the with block and exactly as before after it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from sparsevlm.core.interface import Pruner, phase
from sparsevlm.runtime import layout
from sparsevlm.runtime.adapter import Adapter, find_adapter
from sparsevlm.runtime.attention import note_attention, project
from sparsevlm.runtime.checks import check_cache, check_pruner, check_static
from sparsevlm.runtime.hooks import Hook, arguments_of, bind
from sparsevlm.runtime.prefill import Prefill
from sparsevlm.runtime.prompt_key import prompt_key
from sparsevlm.runtime.trace import Trace

# By the model's decoder.
_ACTIVE: weakref.WeakKeyDictionary[nn.Module, _Session] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


@contextmanager
def prune(
    model: nn.Module,
    pruner: Pruner,
    *,
    visual_mask: Tensor | tuple[int, int] | None = None,
    trace: bool = True,
    static: bool | None = None,
) -> Iterator[Trace | None]:
    """Prune the visual tokens of ``model`` inside the with block.

    Calls and `generate` both work, with left-padded batches, sampling or beams. Logits and hidden
    states come back shorter by the dropped tokens (`SampleTrace.output_index` is the map). A cache
    filled inside the block must be used inside it.

    Parameters
    ----------
    model
        A model of a known architecture, e.g. `LlavaForConditionalGeneration`.
    pruner
        The method, e.g. from `make_pruner`.
    visual_mask
        Only for models that have no image placeholder (plain language models called with
        ``inputs_embeds``): ``[batch, tokens]`` bool, or (start, stop) for all rows.
    trace
        Whether to record a trace.
    static
        Whether the cuts shall leave every value on the device: then no shape depends on a value,
        the host never waits, and a prefill can be captured. All text rows of a scored layer are
        computed, and those that do not rate count nothing, so scores differ in their last bits.
        ``None``: everywhere but on a CPU, which has nobody to wait for.

    Yields
    ------
    Trace or None
        Of the last prefill.

    Raises
    ------
    TypeError
        For a model of an unknown architecture.
    RuntimeError
        If the model is already being pruned.
    ValueError
        For cuts outside the model, for ``static`` and a method that decides its counts at run
        time, and at a call for what is not supported: labels, a static cache, right padding,
        several images per sample, no text after the image.
    """
    session = _open(model, pruner, visual_mask, trace, static)
    decoder = session.adapter.decoder
    with _LOCK:
        if decoder in _ACTIVE:
            raise RuntimeError(
                "this model is already being pruned; leave the outer with block first (another "
                "thread needs a model of its own)"
            )
        _ACTIVE[decoder] = session
    hooks = ExitStack()
    try:
        try:
            session.attach(hooks)
            yield session.trace
        finally:
            _close(hooks)
    finally:
        _ACTIVE.pop(decoder, None)


def session_of(decoder: nn.Module) -> _Session | None:
    """The session under which the model of this decoder is being pruned, if it is."""
    return _ACTIVE.get(decoder)


@phase("session")
def _open(
    model: nn.Module, pruner: Pruner, visual_mask: object, trace: bool, static: bool | None
) -> _Session:
    if static:
        check_static(pruner)
    session = _Session(model, pruner, find_adapter(model, visual_mask), trace)
    session.span = visual_mask if isinstance(visual_mask, tuple) else None
    session.static = static
    return session


@phase("session")
def _close(hooks: ExitStack) -> None:
    hooks.close()


class _Session:
    def __init__(self, model: nn.Module, pruner: Pruner, adapter: Adapter, trace: bool) -> None:
        self.model, self.pruner, self.adapter = model, pruner, adapter
        self.trace = Trace(pruner.to_json()) if trace else None
        self.states: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
        self.current: Prefill | None = None
        self.span: tuple[int, int] | None = None
        self.static: bool | None = None
        self.continuing = False
        self.attention_mask: Tensor | None = None
        self.position_ids: Tensor | None = None
        self.prompt: tuple[Tensor, int] | None = None
        self.logits_to_keep: object = None
        layers = adapter.decoder.layers
        self.stages = [i for i in range(-1, len(layers) - 1) if pruner.prunes_after(i)]
        check_pruner(pruner, self.stages, self.adapter, type(model).__name__)

    @phase("session")
    def attach(self, stack: ExitStack) -> None:
        def hook(register: Callable, function: Callable, **how: bool) -> None:
            stack.callback(register(Hook(function), with_kwargs=True, **how).remove)

        hook(self.model.register_forward_pre_hook, self._before_model)
        self.adapter.attach(hook)
        hook(self.adapter.base.register_forward_pre_hook, self._before_base)
        hook(self.adapter.decoder.register_forward_pre_hook, self._before_decoder)
        # Also after an exception, so that the next call starts clean.
        hook(self.adapter.base.register_forward_hook, self._after_base, always_call=True)
        for index, layer in enumerate(self.adapter.decoder.layers):
            before = bind(self._before_layer, index)
            hook(layer.register_forward_pre_hook, before)
        if self.pruner.needs_attention and self.pruner.scored_layer == "this":
            for index in self.stages:
                attention = self.adapter.decoder.layers[index].self_attn
                stack.callback(note_attention(attention, bind(self._note, index)))

    def _before_model(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        arguments = arguments_of(module, args, kwargs)
        self.logits_to_keep = arguments.get("logits_to_keep")
        if arguments.get("labels") is not None:
            raise ValueError(
                "labels cannot be used under prune(): the logits are shorter than the labels; "
                "compute the loss outside, with SampleTrace.output_index as the map"
            )

    def _before_base(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        arguments = arguments_of(module, args, kwargs)
        cache = arguments.get("past_key_values")
        check_cache(cache)
        mask = arguments.get("attention_mask")
        if mask is not None and mask.ndim != 2:
            raise ValueError(
                f"prune() needs a 2-D attention_mask [batch, tokens], got {mask.ndim} dimensions"
            )
        self.attention_mask = mask
        self.continuing = cache is not None and cache.get_seq_length() > 0
        if self.continuing:
            self.current = self.states.get(cache)
            if self.current is None:
                raise ValueError(
                    "this cache was not filled under this prune(); run the prompt inside the "
                    "same with block"
                )
            self.current.check_continued(arguments.get("input_ids"), cache.get_seq_length())
            return
        visual = self.adapter.visual_mask(arguments)
        samples = self._locate(visual, mask, self._prompt_length(arguments, visual.shape[1]))
        key = prompt_key(self.adapter, arguments, visual, self.prompt)
        grids = self.adapter.grids(arguments, [sample.visual for sample in samples])
        ids = arguments.get("input_ids")
        static = visual.device.type != "cpu" if self.static is None else self.static
        self.current = Prefill(self.pruner, self.adapter, samples, mask, grids, key, ids, static)

    def _locate(
        self, visual: Tensor, mask: Tensor | None, prompt_length: int
    ) -> tuple[layout.Sample, ...]:
        if self.span is None or mask is not None:
            return layout.locate(visual, mask, prompt_length)
        return layout.locate_span(tuple(visual.shape), self.span, prompt_length, visual.device)

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
        guessed = isinstance(wanted, int) and arguments.get("past_key_values") is not None
        return max(wanted - 1, 0) if guessed else 0

    def _after_base(self, module: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
        state, self.current, self.logits_to_keep = self.current, None, None
        if state is None:
            return
        state.finish()
        # On an exception the hook runs with output None: an unfinished prefill is no trace.
        if output is not None and not self.continuing and self.trace is not None:
            self.trace.record(state.trace)

    def _note(self, index: int, found: object) -> None:
        if self.current is not None and not self.continuing:
            self.current.capture(index, found)

    def _before_layer(self, index: int, module: nn.Module, args: tuple, kwargs: dict):
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
        if index - 1 in self.stages:
            if self.pruner.needs_attention and self.pruner.scored_layer == "next":
                segment = state.segments[-1]
                found = project(module, hidden, segment.cos, segment.sin)
                state.capture(index - 1, found)
            hidden = state.cut(index - 1, hidden)
        return (hidden, *rest), state.enter(index, hidden, kwargs)
