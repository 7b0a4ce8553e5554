"""A model under `prune`: from its calls to the steps of a `Prefill`."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsevlm.core.interface import Pruner, phase
from sparsevlm.runtime import checks, generation
from sparsevlm.runtime.adapter import find_adapter, project, unwrap
from sparsevlm.runtime.attention import QueriesKeys, watch_attention
from sparsevlm.runtime.context import Looks, prompt_key
from sparsevlm.runtime.generation import Generation, arguments_of
from sparsevlm.runtime.hooks import Hook, clean, filled, mark_filled, pruned_class, restore_class
from sparsevlm.runtime.prefill import Prefill
from sparsevlm.runtime.segments import silence
from sparsevlm.runtime.trace import Trace

# Sessions that are open, or could not take everything off their model, by the model's decoder.
SESSIONS: weakref.WeakKeyDictionary[nn.Module, PruningSession] = weakref.WeakKeyDictionary()


class PruningSession:
    """A model under one pruner.

    Parameters are those of `prune`.

    Attributes
    ----------
    open
        Whether the block runs; hooks of a closed session do nothing.
    thread
        The thread that entered the block.
    generation
        The call of `generate` now running, if there is one.
    current
        The prompt of the call now running; ``None`` between calls.
    """

    @phase("session")
    def __init__(
        self,
        model: nn.Module,
        pruner: Pruner,
        visual_mask: Tensor | tuple[int, int] | None,
        trace: bool,
        static: bool | None,
        questions: Sequence[str] | None = None,
        question_tokens: int | Sequence[int] | None = None,
    ) -> None:
        if static:
            checks.check_static(pruner)
        if question_tokens is not None and pruner.text == "whole_prompt":
            raise ValueError(
                'question_tokens lets the last question rate, and text="whole_prompt" all words; '
                "leave one of them out"
            )
        self.model, self.pruner, self.static = unwrap(model), pruner, static
        self.questions, self.question_tokens = questions, question_tokens
        self.adapter = find_adapter(model, visual_mask)
        self.span = tuple(visual_mask) if isinstance(visual_mask, tuple | list) else None
        self.trace = Trace(pruner.to_json()) if trace else None
        self.open, self.thread = False, get_ident()
        self.touched: set[nn.Module] = set()
        self.generation: Generation | None = None
        self.current: Prefill | None = None
        self.continuing = self.traced = self.is_turn = False
        self.attention_mask: Tensor | None = None
        self.position_ids: Tensor | None = None
        self.ids: Tensor | None = None
        self.mark: Any = None
        self.last_tokens: int | Sequence[int] | None = None
        last = len(self.adapter.decoder.layers) - 1
        self.layers = [i for i in range(-1, last) if pruner.prunes_after(i)]
        checks.check_pruner(pruner, self.layers, self.adapter, type(model).__name__)

    @phase("session")
    def attach(self) -> None:
        """Set all hooks."""

        def hook(register: Callable, function: Callable, **how: bool) -> None:
            self.touched.add(register.__self__)  # type: ignore[attr-defined]
            register(Hook(self, function), with_kwargs=True, **how)

        if hasattr(type(self.model), "generate"):
            self.model.__class__ = pruned_class(type(self.model), session_of)
        hook(self.model.register_forward_pre_hook, self._before_model)
        self.adapter.attach(hook)
        if getattr(self.pruner, "needs_tower", False):
            self.adapter.attach_tower(hook)
        base, decoder = self.adapter.base, self.adapter.decoder
        hook(base.register_forward_pre_hook, self._before_base)
        hook(decoder.register_forward_pre_hook, self._before_decoder)
        # Also after an exception, so that the next call starts clean.
        hook(base.register_forward_hook, self._after_base, always_call=True)
        for index, layer in enumerate(decoder.layers):
            hook(layer.register_forward_pre_hook, partial(self._before_layer, index))
        self._watch()

    def _watch(self) -> None:
        """See the attention of scored layers; once more, where an interrupt took that off."""
        if self.pruner.needs_attention and self.pruner.scored_layer == "this":
            for index in self.layers:
                attention = self.adapter.decoder.layers[index].self_attn
                self.touched.add(attention)
                watch_attention(attention, Hook(self, partial(self._keep_attention, index)))

    @phase("session")
    def close(self) -> None:
        """Take everything off the model; again, if an interrupt came between."""
        self.open = False
        clean(self.touched, self)
        self.touched = set()
        self.generation = self.current = self.mark = None
        if SESSIONS.get(self.adapter.decoder) is self:
            restore_class(self.model)
            del SESSIONS[self.adapter.decoder]

    def generating(self, own: Callable, *args: object, **kwargs: object) -> object:
        """Run the model's own ``generate``, knowing which prompt its calls are about."""
        given, running = {**arguments_of(own, args, kwargs)}, self.generation
        if running is not None and running.thread == get_ident() and running.is_assisted_by(given):
            return running.assist(own, **given)
        self._check_thread("generate()", given.get("streamer") is not None)
        generation = Generation(self, given)
        # Twice, for an interrupt may come at the first.
        try:
            try:
                self.generation = generation
                return own(**generation.arguments)
            except BaseException:
                generation.fail()
                raise
            finally:
                self._leave(generation, running)
        finally:
            self._leave(generation, running)

    def _leave(self, generation: Generation, outer: Generation | None) -> None:
        if self.generation is generation:
            self.generation = outer

    def _check_thread(self, what: str, streams: bool = False) -> None:
        """Check that no other thread uses the model, but for one that streams an answer."""
        user = self.thread if self.generation is None else self.generation.thread
        if user == get_ident() or (streams and self.generation is None):
            return
        raise RuntimeError(
            f"{what} was called from another thread than the one that pruned this model, or while "
            "another thread generates. Enter prune() in the thread that calls the model, one "
            "thread at a time (only generate() with a streamer may run in a thread of its own, "
            "which must end before the block does); two threads need a model each"
        )

    def _before_model(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self._check_thread("the pruned model")
        if module is not self.model:
            raise RuntimeError(
                f"this {type(module).__name__} shares its parts with the model that is pruned; "
                "call that one, or prune this one"
            )
        if arguments_of(module.forward, args, kwargs).get("labels") is not None:
            raise ValueError(
                "labels cannot be used under prune(): the logits are shorter than the labels; "
                "compute the loss outside, with SampleTrace.output_index as the map"
            )

    def _before_base(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        """Begin a prompt, or find the one that the call continues."""
        self._check_thread("the pruned model")
        arguments = arguments_of(module.forward, args, kwargs)
        cache, mask = arguments.get("past_key_values"), arguments.get("attention_mask")
        checks.check_cache(cache)
        if mask is not None and getattr(mask, "ndim", 0) != 2:
            got = f"{mask.ndim} dimensions" if isinstance(mask, Tensor) else type(mask).__name__
            raise ValueError(f"prune() needs a 2-D attention_mask [batch, tokens], got {got}")
        self.attention_mask, self.ids = mask, arguments.get("input_ids")
        self.is_turn = False
        self.continuing = cache is not None and cache.get_seq_length() > 0
        if self.continuing:
            self.current = self._continued(cache, arguments)
            return
        self._watch()
        visual, prompt_length, self.traced = self._prompt(arguments)
        if self.span is None or mask is not None or not self.traced:
            extents = generation.locate(visual, mask)
        else:
            extents = generation.locate_span(visual.shape, self.span, prompt_length)
        runs = [[stop - start for start, stop in one.runs] for one in extents]
        pictures = self.adapter.pictures(arguments, runs)
        samples = generation.arrange(extents, pictures, visual, prompt_length)
        samples = silence(samples, self.last_tokens)
        key = prompt_key(self.adapter, arguments, visual, prompt_length)
        static = visual.device.type != "cpu" if self.static is None else self.static
        self.current = Prefill(self.pruner, self.adapter, samples, mask, key, static)
        shown = arguments if self.generation is None else self.generation.shown(arguments)
        self.current.looks = Looks(self.adapter, shown, len(samples), self.questions)

    def _continued(self, cache: object, arguments: dict) -> Prefill:
        """The prompt that a filled cache holds, if the call can be its continuation."""
        found = filled(cache)
        if found is None or found.prefill is None or found.session() is not self:
            raise ValueError(
                "this cache was not filled under this prune(); run the prompt inside the "
                "same with block"
            )
        found.ids = checks.check_continued(found.prefill, cache, self.ids, found.ids)
        checks.check_no_image(self.adapter, arguments)
        self.mark, inside = found, self.generation
        given = arguments.get("inputs_embeds") if self.ids is None else self.ids
        several = given is not None and given.shape[1] > 1
        self.is_turn = several if inside is None else inside.is_turn(cache)
        return found.prefill

    def _prompt(self, arguments: dict) -> tuple[Tensor, int, bool]:
        """Visual mask, tokens of the prompt, and whether this prefill is the one to be traced."""
        ids, embeds = arguments.get("input_ids"), arguments.get("inputs_embeds")
        source: Any = embeds if ids is None else ids
        if getattr(source, "ndim", 0) < 2:
            raise ValueError("prune() needs input_ids [batch, tokens], or their inputs_embeds")
        length, inside = source.shape[1], self.generation
        self.adapter.asked = {} if inside is None else inside.shapes
        known = (length, True) if inside is None else inside.prompt_of(ids, length)
        self.last_tokens = None if known is None else self.question_tokens
        if known is None:
            # What was told about the prompt says nothing about other text.
            shape, device = source.shape[:2], source.device
            told = torch.zeros(shape, dtype=torch.bool, device=device)
            return told if self.adapter.told else self.adapter.visual_mask(arguments), length, False
        if self.span is not None and max(self.span) > length:
            raise ValueError(
                f"visual_mask says that the visual tokens are {self.span}, and the call brings "
                f"{length} tokens; prune() needs the image and the question in one call"
            )
        if self.adapter.told:  # a negative place counts from the end of the prompt
            arguments = {"inputs_embeds": source[:, : known[0]]}
        visual = self.adapter.visual_mask(arguments)
        return functional.pad(visual, (0, length - visual.shape[1])), *known

    def _before_decoder(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self.position_ids = arguments_of(module.forward, args, kwargs).get("position_ids")

    def _after_base(self, module: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
        state, self.current = self.current, None
        if state is None or output is None:
            return  # an exception: an unfinished prefill is no trace
        state.finish()
        resolve: Any = state.trace
        if self.is_turn:
            self.mark.turns += 1
            resolve = partial(state.trace, self.mark.turns, self.mark.rows)
        elif self.continuing or not self.traced:
            return
        else:
            checks.warn_of_few_words(state, self.ids)
            checks.warn_of_small_pictures(state)
        if self.trace is not None:
            self.trace.record(resolve)

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
            return args, state.proceed(index, hidden, kwargs, self.attention_mask, self.mark.rows)
        if index == 0:
            state.start(hidden, kwargs, self.position_ids)
            if kwargs.get("past_key_values") is not None:
                mark_filled(kwargs["past_key_values"], state, self, self.ids)
        if index - 1 in self.layers:
            if self.pruner.needs_attention and self.pruner.scored_layer == "next":
                segment = state.segments[-1]
                found = project(module, hidden, segment.cos, segment.sin)
                state.keep_attention(index - 1, QueriesKeys(*found))
            hidden = state.prune(index - 1, hidden)
        return (hidden, *rest), state.enter(index, hidden, kwargs)


def session_of(model: nn.Module) -> PruningSession | None:
    """The open session of a model or of its decoder."""
    found = (one for one in list(SESSIONS.values()) if model in (one.model, one.adapter.decoder))
    return next((one for one in found if one.open), None)
