"""One prefill under pruning, and what later layers and decode steps need to know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sparsevlm.core.interface import Pruner, PruningContext, Selection, phase
from sparsevlm.runtime import layout
from sparsevlm.runtime.adapter import Adapter, Picture
from sparsevlm.runtime.attention import QueriesKeys
from sparsevlm.runtime.context import Looks, Sights, check_selection, context_of
from sparsevlm.runtime.layout import SampleLayout
from sparsevlm.runtime.segments import (
    LayerSegment,
    Positions,
    causal_mask,
    pad_left,
    real_tokens,
    together,
)
from sparsevlm.runtime.trace import Decision, SampleTrace, sample_trace


class Prefill:
    """State of one prompt, from its prefill to its last decoded token.

    Parameters
    ----------
    pruner
        Decides.
    adapter
        Of the model.
    samples
        Layout of the rows.
    attention_mask
        ``[batch, tokens]`` or ``None``.
    prompt_key
        Of the call.
    static
        See `PruningContext`.
    """

    def __init__(
        self,
        pruner: Pruner,
        adapter: Adapter,
        samples: tuple[SampleLayout, ...],
        attention_mask: Tensor | None,
        prompt_key: Callable[[int, Picture, Tensor], int],
        static: bool = False,
    ) -> None:
        self.pruner, self.adapter, self.decoder = pruner, adapter, adapter.decoder
        # By row, and then by what is decided at once.
        self.first, at_once = samples, getattr(pruner, "batched", False)
        self.groups = self.samples = together(samples) if at_once else samples
        self.static = static
        self.prompt_key: Any = prompt_key
        self.looks: Any = Looks()  # the session knows better
        # A decoder may be spread over several devices: all pruning is done on that of the prompt.
        self.home = samples[0].device
        lengths = {sample.tokens for sample in samples}
        self.mask: Tensor | None = None
        if attention_mask is not None and lengths != {attention_mask.shape[1]}:
            self.mask = attention_mask.bool()
        self.padded = self.mask is not None
        self.complete = False
        self.inputs: Any = None  # of layer 0, while the prefill runs
        self.segments: list[LayerSegment] = []
        self.segment_of: dict[int, int] = {}
        # By group, and then by image.
        self.decisions: list[list[list[Decision]]] = [[[] for _ in s.images] for s in self.groups]
        self.attention: dict[int, QueriesKeys] = {}
        self.masks: dict[tuple[int, int], dict] = {}

    def start(self, hidden: Tensor, arguments: dict, positions: Tensor | None) -> None:
        """Note the input of layer 0: embeddings, rotary tables and the decoder's position ids."""
        if self.segments:
            raise ValueError("under prune() call the whole model, not a part of it")
        self.inputs = hidden = hidden.to(self.home)
        self.is_masked = arguments.get("attention_mask") is not None
        cos, sin = (table.to(self.home) for table in arguments["position_embeddings"])
        self.positions = Positions(self.adapter, self.groups, hidden, positions, (cos, sin))
        self.segments.append(LayerSegment(hidden.shape[1], self.mask, cos, sin))

    def keep_attention(self, layer: int, found: QueriesKeys) -> None:
        """Keep queries and keys of a scored layer until its stage."""
        self.attention[layer] = found.to(self.home)

    @phase("cut")
    def prune(self, layer: int, hidden: Tensor) -> Tensor:
        """Ask the pruner about every image and apply its selections; returns the new rows."""
        found, hidden = self.attention.pop(layer, None), hidden.to(self.home)
        rows, samples = [], []
        for group, sample in enumerate(self.samples):
            row = hidden[sample.rows, hidden.shape[1] - sample.tokens :]
            selections = [
                self._select(group, sample, number, row, layer, found)
                for number in range(len(sample.images))
            ]
            after, row = layout.apply(sample, row, selections)
            changed = zip(self.decisions[group], sample.images, after.images, strict=True)
            for (decisions, *images), selection in zip(changed, selections, strict=True):
                decisions.append(Decision(layer, *images, selection.without_vectors()))
            samples.append(after)
            rows.append(sample.stacked(row))
        if all(new is old for new, old in zip(samples, self.samples, strict=True)):
            return hidden
        self.samples, hidden = tuple(samples), pad_left(rows)
        self.segments.append(self._segment(hidden))
        return hidden

    def _select(
        self, group: int, sample: SampleLayout, number: int, row: Tensor, layer: int,
        found: QueriesKeys | None,
    ) -> Selection:  # fmt: skip
        segment, rows, first = self.segments[-1], sample.rows, self.groups[group]
        start, columns = segment.length - sample.tokens, sample.columns(number)

        def inputs() -> Tensor:
            return self.inputs[rows, self.inputs.shape[1] - first.tokens :]

        def prompt_key() -> Any:
            pictures = [self.first[row].images[number].picture for row in sample.numbers]
            keys = list(map(self.prompt_key, sample.numbers, pictures, sample.stacked(inputs())))
            return keys if sample.batch else keys[0]

        def announced() -> QueriesKeys:
            if found is None:
                raise RuntimeError(
                    f"{type(self.pruner).__name__} asked for attention it did not announce; set "
                    "needs_attention = True on the pruner"
                )
            return found

        whole = self.pruner.text == "whole_prompt"
        mask = self.masks.setdefault((group, number), {})
        context = context_of(
            sample, number, first, row, inputs, layer=layer, num_layers=len(self.decoder.layers),
            static=self.static, whole_prompt=whole, prompt_key=prompt_key,
            attention_rows=lambda raters: announced().rows(
                rows, start, columns, sample.places(raters, number, whole), mask,
                sample.prompt if whole else None,
            ),
            attention_mean=lambda: announced().mean(rows, start, columns, sample.prompt),
            rotary=lambda: segment.tables_of(rows, start),
            seen=None if sample.batch else Sights(
                self.looks, sample, number, self.decoder, announced, segment
            ),
        )  # fmt: skip
        selection = self._decide(context)
        check_selection(sample.images[number], selection)
        return selection

    @phase("scoring")
    @torch.no_grad()
    def _decide(self, context: PruningContext) -> Selection:
        return self.pruner.select(context)

    def _segment(self, hidden: Tensor) -> LayerSegment:
        mask = None
        if self.padded or len({sample.tokens for sample in self.samples}) > 1:
            mask = real_tokens(self.samples, hidden.shape[1], hidden.device)
            self.padded = True
        if self.pruner.positions == "renumbered":
            return self.positions.renumbered(hidden, self.samples, mask)
        shortened = self.segment_of.get(0) != 0
        return self.positions.original(hidden, self.samples, mask, shortened)

    def enter(self, layer: int, hidden: Tensor, arguments: dict) -> dict:
        """Arguments for this layer in the prefill."""
        segment = self.segments[-1]
        self.segment_of[layer] = len(self.segments) - 1
        if len(self.segments) == 1:
            return arguments
        if not segment.arguments:
            mask = None
            if segment.mask is not None or self.is_masked:
                mask = causal_mask(self.decoder, segment.mask, hidden, arguments, layer)
            # Else as the model itself said to layer 0: its kernel is causal without a mask.
            segment.change(segment.cos, segment.sin, mask)
        return {**arguments, **segment.arguments}

    def finish(self) -> None:
        """Drop what only the prefill itself needed."""
        self.complete = True
        self.prompt_key = self.looks = None  # they know the pixels
        self.attention.clear()
        self.inputs, self.masks = None, {}
        self._forget()

    def _forget(self) -> None:
        for segment in self.segments:
            segment.arguments = {}

    @property
    def dropped(self) -> bool:
        """Whether the cache differs from that of the model itself."""
        return len(self.segments) > 1

    def proceed(
        self,
        layer: int,
        hidden: Tensor,
        arguments: dict,
        attention_mask: Tensor | None,
        rows: Tensor | None,
    ) -> dict:
        """Arguments for this layer in a forward that continues the cache, or ``rows`` of it."""
        if layer == 0:
            self._forget()  # what an interrupted call left
        number = self.segment_of[layer]
        if number == 0:
            return arguments
        segment = self.segments[number]
        if not segment.arguments:
            now, hidden = segment.of(rows), hidden.to(self.home)
            cached = arguments["past_key_values"].get_seq_length(layer)
            new = cached - segment.length + hidden.shape[1]
            mask = now.continued_mask(new, attention_mask, len(self.first), hidden.device)
            mask = causal_mask(self.decoder, mask, hidden, arguments, layer)
            cos, sin = arguments["position_embeddings"]
            if now.next_position is not None:
                steps = torch.arange(new - hidden.shape[1], new, device=hidden.device)
                positions = torch.atleast_2d(now.next_position + steps)
                cos, sin = self.adapter.rotary(hidden, positions)
            segment.change(cos, sin, mask)
        return {**arguments, **segment.arguments}

    def trace(self, turns: int = 1, rows: Tensor | None = None) -> list[SampleTrace]:
        """Turn the decisions into plain numbers, of some rows or (``None``) as they are."""
        found = [
            sample_trace(
                last, number, index, decisions[number] if decisions else (), row=row, turns=turns,
                num_layers=len(self.decoder.layers), counted_layer=self.pruner.counted_layer,
            )
            for last, decisions in zip(self.samples, self.decisions, strict=True)
            for index, row in enumerate(last.numbers)
            for number in range(max(len(last.images), 1))
        ]  # fmt: skip
        if rows is None:
            return found
        chosen = enumerate(rows.tolist())
        return [
            replace(one, sample=new) for new, old in chosen for one in found if one.sample == old
        ]
