"""One prefill under pruning, and what later layers and decode steps need to know of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sparsevlm.core.interface import Pruner, PruningContext, Selection, phase
from sparsevlm.runtime import layout
from sparsevlm.runtime.adapter import Adapter, Grid
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
    grids
        Shape of every row's visual tokens, where known.
    prompt_key
        Function of the row number; see `PruningContext`.
    static
        See `PruningContext`.
    """

    def __init__(
        self,
        pruner: Pruner,
        adapter: Adapter,
        samples: tuple[SampleLayout, ...],
        attention_mask: Tensor | None,
        grids: Sequence[Grid | None],
        prompt_key: Callable[[int, Tensor], int],
        static: bool = False,
    ) -> None:
        self.pruner, self.adapter, self.decoder = pruner, adapter, adapter.decoder
        # By row, and then by what is decided at once.
        self.first, at_once = samples, getattr(pruner, "batched", False)
        self.groups = self.samples = together(samples, grids) if at_once else samples
        self.grids, self.static = grids, static
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
        self.decisions: list[list[Decision]] = [[] for _ in self.groups]
        self.attention: dict[int, QueriesKeys] = {}
        self.masks: list[dict] = [{} for _ in self.groups]

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
        """Ask the pruner about every sample and apply its selections; returns the new rows."""
        found, hidden = self.attention.pop(layer, None), hidden.to(self.home)
        rows, samples = [], []
        for number, sample in enumerate(self.samples):
            row = hidden[sample.rows, hidden.shape[1] - sample.tokens :]
            if sample.visual:
                selection = self._select(number, sample, row, layer, found)
                sample_after, row_after = sample, row
                if selection.keep.shape[-1] < sample.visual or selection.vectors is not None:
                    sample_after, row_after = layout.apply(sample, row, selection)
                self.decisions[number].append(
                    Decision(layer, sample, sample_after, selection.without_vectors())
                )
                sample, row = sample_after, row_after
            samples.append(sample)
            rows.append(sample.stacked(row))
        if all(new is old for new, old in zip(samples, self.samples, strict=True)):
            return hidden
        self.samples, hidden = tuple(samples), pad_left(rows)
        self.segments.append(self._segment(hidden))
        return hidden

    def _select(
        self, number: int, sample: SampleLayout, row: Tensor, layer: int, found: QueriesKeys | None
    ) -> Selection:
        segment, rows = self.segments[-1], sample.rows
        start = segment.length - sample.tokens

        def inputs() -> Tensor:
            return self.inputs[rows, self.inputs.shape[1] - self.groups[number].tokens :]

        def prompt_key() -> Any:
            keys = list(map(self.prompt_key, sample.numbers, sample.stacked(inputs())))
            return keys if sample.batch else keys[0]

        def announced() -> QueriesKeys:
            if found is None:
                raise RuntimeError(
                    f"{type(self.pruner).__name__} asked for attention it did not announce; set "
                    "needs_attention = True on the pruner"
                )
            return found

        whole = self.pruner.text == "whole_prompt"
        prompt = sample.columns.stop + sample.prompt_text
        looked = self.looks, rows, sample, self.decoder, announced, segment
        context = context_of(
            sample, row, inputs, layer=layer, num_layers=len(self.decoder.layers),
            grid=self.grids[sample.numbers[0]], static=self.static, whole_prompt=whole,
            rows=lambda columns, raters: announced().rows(
                rows, start, columns, raters, self.masks[number], prompt if whole else None
            ),
            mean=lambda columns: announced().mean(rows, start, columns, prompt),
            rotary=lambda: segment.tables_of(rows, start), prompt_key=prompt_key,
            seen=None if sample.batch else Sights(*looked),
        )  # fmt: skip
        selection = self._decide(context)
        check_selection(sample, selection)
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

    def check_continued(
        self, cache: Any, ids: Tensor | None, known: Tensor | None
    ) -> Tensor | None:
        """Check that a call goes on where the cache ends; returns all ids that it then stands for.

        Parameters
        ----------
        cache
            Filled by this prefill, or a copy.
        ids
            ``[batch, tokens]`` of the call.
        known
            ``[batch, tokens]`` that the cache stands for.

        Raises
        ------
        ValueError
            If the prefill did not come to its end, if the cache lost a part of its prompt or has
            other rows, and if the call repeats tokens that the cache stands for.
        """
        lengths = [self.segments[number].length for number in self.segment_of.values()]
        added = {
            cache.get_seq_length(layer) - length
            for layer, length in zip(self.segment_of, lengths, strict=True)
        }
        if not self.complete or len(added) > 1:
            raise ValueError(
                "this cache is incomplete: a call that filled it was interrupted. Run the prompt "
                "again with a new cache"
            )
        rows, expected = cache.layers[0].keys.shape[0], len(self.first)
        if rows != expected:
            raise ValueError(
                f"this cache was filled with {expected} rows and has {rows} now; give prune() the "
                "batch as it is to be continued (generate() repeats rows itself)"
            )
        missing = self.segments[0].length - lengths[0]
        beyond = self.first[0].text - self.first[0].prompt_text
        cut, end = -(added.pop() + beyond), self.segments[0].length - beyond
        if cut > 0 and (
            ids is None or known is None or not torch.equal(ids[:, :cut], known[:, end - cut : end])
        ):
            raise ValueError(
                f"this cache was cut {cut} tokens into its prompt, by which it was pruned; run "
                "the other prompt with a new cache"
            )
        # `generate` takes the length of layer 0 for the number of tokens that the cache stands
        # for, and sends the tokens after that again. After a stage before layer 0 that is early.
        if not missing or ids is None or known is None:
            return known
        known = known[:, : cache.get_seq_length() + missing]
        if ids.shape[1] > missing and torch.equal(ids[:, :missing], known[:, -missing:]):
            raise ValueError(
                f"the call repeats {missing} tokens that the cache already stands for: generate() "
                "cannot continue a cache after a stage before layer 0. Call the model itself with "
                "the new tokens only, or give generate() the whole conversation without a cache"
            )
        return torch.cat([known, ids], dim=1)

    def finish(self) -> None:
        """Drop what only the prefill itself needed."""
        self.complete = True
        self.prompt_key = self.looks = None  # they know the pixels
        self.attention.clear()
        self.inputs, self.masks = None, []
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

    def trace(self) -> list[SampleTrace]:
        """Turn the decisions into plain numbers."""
        return [
            sample_trace(
                last, index, decisions, num_layers=len(self.decoder.layers),
                grid=self.grids[row], counted_layer=self.pruner.counted_layer,
            )
            for last, decisions in zip(self.samples, self.decisions, strict=True)
            for index, row in enumerate(last.numbers)
        ]  # fmt: skip
