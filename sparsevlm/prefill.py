"""One prefill under pruning: its cuts, and what later layers and decode steps need to know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from transformers.masking_utils import create_causal_mask

from sparsevlm import layout
from sparsevlm.attention import QueriesKeys
from sparsevlm.contract import Pruner, Selection
from sparsevlm.family import Family, Grid
from sparsevlm.layout import Sample
from sparsevlm.trace import SampleTrace
from sparsevlm.tracing import Noted, sample_trace


@dataclass
class Segment:
    """The layers between two cuts: they all see the same tokens.

    Attributes
    ----------
    length
        Row length of the prefill, padding included.
    mask
        ``[batch, length]`` bool, True for real tokens; ``None`` without padding.
    cos, sin
        Rotary tables of the prefill.
    next_position
        ``[batch, 1]`` position of the first decoded token, where it is not the one that the model
        itself would give.
    arguments
        Keyword arguments for the layers of this segment, for the forward now running.
    """

    length: int
    mask: Tensor | None
    cos: Tensor
    sin: Tensor
    next_position: Tensor | None = None
    arguments: dict = field(default_factory=dict)


class Prefill:
    """State of one prompt, from its prefill to its last decoded token.

    Parameters
    ----------
    pruner
        Decides.
    family
        The model's parts.
    samples
        Layout of the rows.
    attention_mask
        ``[batch, tokens]`` or ``None``.
    grids
        Shape of every row's visual tokens, where known.
    prompt_key
        Function of the row number; see `View`.
    ids
        ``[batch, tokens]`` of the call, where it has them.
    """

    def __init__(
        self,
        pruner: Pruner,
        family: Family,
        samples: tuple[Sample, ...],
        attention_mask: Tensor | None,
        grids: Sequence[Grid | None],
        prompt_key: Callable[[int, Tensor], int],
        ids: Tensor | None = None,
    ) -> None:
        self.pruner, self.family, self.decoder = pruner, family, family.decoder
        self.first, self.samples = samples, samples
        self.grids, self.prompt_key, self.ids = grids, prompt_key, ids
        padded = len({sample.tokens for sample in samples}) > 1
        self.padded = padded or self._row_length(attention_mask) > samples[0].tokens
        self.mask = attention_mask.bool() if self.padded else None
        self.segments: list[Segment] = []
        self.segment_of: dict[int, int] = {}
        self.noted: list[list[Noted]] = [[] for _ in samples]
        self.captured: dict[int, QueriesKeys] = {}

    def _row_length(self, attention_mask: Tensor | None) -> int:
        return self.first[0].tokens if attention_mask is None else attention_mask.shape[1]

    def start(self, hidden: Tensor, arguments: dict, positions: Tensor | None) -> None:
        """Note the input of layer 0: embeddings, rotary tables and the decoder's position ids."""
        self.inputs = hidden
        cos, sin = arguments["position_embeddings"]
        if positions is None:
            positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        # With M-RoPE the first and the last token, being text, have one position on all axes.
        positions = positions if positions.ndim == 2 else positions[-1]
        rows = positions.expand(len(self.first), -1)
        starts = [hidden.shape[1] - sample.tokens for sample in self.first]
        self.first_position = torch.stack([row[s] for row, s in zip(rows, starts, strict=True)])
        self.last_position = rows[:, -1:]
        self.segments.append(Segment(hidden.shape[1], self.mask, cos, sin))

    def capture(self, layer: int, found: QueriesKeys) -> None:
        """Keep queries and keys of a scored layer until its cut."""
        self.captured[layer] = found

    def cut(self, after_layer: int, hidden: Tensor) -> Tensor:
        """Ask the pruner for every sample and carry the selections out; returns the new rows."""
        found = self.captured.pop(after_layer, None)
        rows, samples = [], []
        for number, sample in enumerate(self.samples):
            row = hidden[number, hidden.shape[1] - sample.tokens :]
            if sample.visual:
                selection = self._select(number, sample, row, after_layer, found)
                sample_after, row_after = sample, row
                if len(selection.keep) < sample.visual or selection.vectors is not None:
                    sample_after, row_after = layout.apply(sample, row, selection)
                noted = Noted(after_layer, sample, sample_after, replace(selection, vectors=None))
                self.noted[number].append(noted)
                sample, row = sample_after, row_after
            samples.append(sample)
            rows.append(row)
        if all(new is old for new, old in zip(samples, self.samples, strict=True)):
            return hidden
        self.samples = tuple(samples)
        hidden = layout.pad_left(rows)
        self.segments.append(self._segment(hidden))
        return hidden

    def _select(
        self, number: int, sample: Sample, row: Tensor, layer: int, found: QueriesKeys | None
    ) -> Selection:
        segment = self.segments[-1]
        start = segment.length - sample.tokens
        inputs = self.inputs[number, self.inputs.shape[1] - self.first[number].tokens :]

        def rows(queries: Tensor, columns: slice) -> Tensor:
            if found is None:
                raise RuntimeError(
                    f"{type(self.pruner).__name__} asked for attention it did not announce; set "
                    "needs_attention = True on the pruner"
                )
            return found.rows(number, start, queries, columns)

        view = layout.view_of(
            sample, row, inputs, layer=layer, num_layers=len(self.decoder.layers),
            grid=self.grids[number], rows=rows,
            rotary=tuple(table.expand(len(self.samples), -1, -1)[number, start:]
                         for table in (segment.cos, segment.sin)),
            prompt_key=lambda: self.prompt_key(number, inputs),
        )
        with torch.no_grad():
            selection = self.pruner.select(view)
        layout.check_selection(sample, selection)
        return selection

    def _segment(self, hidden: Tensor) -> Segment:
        length, device = hidden.shape[1], hidden.device
        sizes = [sample.tokens for sample in self.samples]
        mask = None
        if self.padded or len(set(sizes)) > 1:
            starts = torch.tensor([length - size for size in sizes], device=device)
            mask = torch.arange(length, device=device) >= starts[:, None]
            self.padded = True
        if self.pruner.positions == "renumbered":
            offsets = [torch.arange(size, device=device) for size in sizes]
            positions = layout.pad_left(offsets) + self.first_position[:, None]
            cos, sin = self.family.rotary(hidden, positions)
            return Segment(length, mask, cos, sin, positions[:, -1:] + 1)
        slots = layout.pad_left([sample.slots for sample in self.samples])
        cos, sin = (_gather(table, slots) for table in (self.segments[0].cos, self.segments[0].sin))
        # The model counts positions by the cache of layer 0; where that is cut, it counts too few.
        shortened = self.segment_of.get(0) != 0
        return Segment(length, mask, cos, sin, self.last_position + 1 if shortened else None)

    def enter(self, layer: int, hidden: Tensor, arguments: dict) -> dict:
        """Arguments for this layer in the prefill."""
        segment = self.segments[-1]
        self.segment_of[layer] = len(self.segments) - 1
        if len(self.segments) == 1:
            return arguments
        if not segment.arguments:
            mask = self._causal_mask(segment.mask, hidden, arguments, layer)
            segment.arguments = _changed(segment.cos, segment.sin, mask)
        return {**arguments, **segment.arguments}

    def check_continued(self, ids: Tensor | None, cached: int) -> None:
        """Check that a call that continues the cache brings new tokens only.

        `generate` takes the length of layer 0 for the number of tokens that the cache stands for,
        and sends the tokens after that again. After a cut before layer 0 that is too early.

        Parameters
        ----------
        ids
            ``[batch, tokens]`` of the call.
        cached
            Length of layer 0 in the cache.

        Raises
        ------
        ValueError
            If the call repeats the end of what was there before.
        """
        missing = self.segments[0].length - self.segments[self.segment_of[0]].length
        if not missing or ids is None or self.ids is None:
            return
        self.ids = self.ids[:, : cached + missing]
        if ids.shape[1] > missing and torch.equal(ids[:, :missing], self.ids[:, -missing:]):
            raise ValueError(
                f"the call repeats {missing} tokens that the cache already stands for: generate() "
                "cannot continue a cache after a cut before layer 0. Call the model itself with "
                "the new tokens only, or give generate() the whole conversation without a cache"
            )
        self.ids = torch.cat([self.ids, ids], dim=1)

    def finish(self) -> None:
        """Drop what only the prefill itself needed."""
        self.captured.clear()
        self.inputs = None
        for segment in self.segments:
            segment.arguments = {}

    def proceed(
        self, layer: int, hidden: Tensor, arguments: dict, attention_mask: Tensor | None
    ) -> dict:
        """Arguments for this layer in a forward that continues the cache."""
        number = self.segment_of[layer]
        if number == 0:
            return arguments
        segment = self.segments[number]
        if not segment.arguments:
            cached = arguments["past_key_values"].get_seq_length(layer)
            new = cached - segment.length + hidden.shape[1]
            mask = self._continued_mask(segment, new, attention_mask)
            mask = self._causal_mask(mask, hidden, arguments, layer)
            cos, sin = arguments["position_embeddings"]
            if segment.next_position is not None:
                steps = torch.arange(new - hidden.shape[1], new, device=hidden.device)
                positions = segment.next_position + steps
                cos, sin = self.family.rotary(hidden, positions)
            segment.arguments = _changed(cos, sin, mask)
        return {**arguments, **segment.arguments}

    def _continued_mask(
        self, segment: Segment, new: int, attention_mask: Tensor | None
    ) -> Tensor | None:
        if segment.mask is None and attention_mask is None:
            return None
        batch = len(self.samples)
        device = self.first_position.device
        head, tail = segment.mask, None
        if head is None:
            head = torch.ones(batch, segment.length, dtype=torch.bool, device=device)
        if attention_mask is not None:
            tail = attention_mask[:, attention_mask.shape[1] - new :].bool()
        else:
            tail = torch.ones(batch, new, dtype=torch.bool, device=device)
        return torch.cat([head, tail], dim=1)

    def _causal_mask(
        self, mask: Tensor | None, hidden: Tensor, arguments: dict, layer: int
    ) -> Tensor | None:
        # Each layer of a pruned model has its own cache length; layer_idx sizes the mask for it.
        return create_causal_mask(
            config=self.decoder.config, inputs_embeds=hidden, attention_mask=mask,
            past_key_values=arguments.get("past_key_values"), layer_idx=layer,
        )

    def trace(self) -> list[SampleTrace]:
        """Turn what was noted into plain numbers."""
        return [
            sample_trace(
                first, last, noted, num_layers=len(self.decoder.layers), grid=grid,
                counted_layer=self.pruner.counted_layer,
            )
            for first, last, noted, grid in zip(
                self.first, self.samples, self.noted, self.grids, strict=True
            )
        ]


def _changed(cos: Tensor, sin: Tensor, mask: Tensor | None) -> dict:
    # Flash kernels would take the gaps in the position ids for packed sequences, so none are given.
    return {"position_embeddings": (cos, sin), "attention_mask": mask, "position_ids": None}


def _gather(table: Tensor, slots: Tensor) -> Tensor:
    table = table.expand(len(slots), -1, -1)
    return table.gather(1, slots[..., None].expand(-1, -1, table.shape[-1]))
