"""Segments: the layers between two stages, with their positions, rotary tables and masks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import create_causal_mask

from sparsevlm.core.interface import phase
from sparsevlm.runtime.adapter import Adapter
from sparsevlm.runtime.layout import SampleLayout


@dataclass
class LayerSegment:
    """The layers between two stages: they all see the same tokens.

    Attributes
    ----------
    length
        Row length of the prefill, padding included.
    mask
        ``[batch, length]`` bool, True for real tokens; ``None`` without padding.
    cos, sin
        Rotary tables of the prefill.
    next_position
        Position of the first decoded token, where it is not the one that the model itself would
        give: ``[batch, 1]``, or a number for all rows.
    arguments
        Keyword arguments for the layers of this segment, for the forward now running.
    """

    length: int
    mask: Tensor | None
    cos: Tensor
    sin: Tensor
    next_position: Tensor | int | None = None
    arguments: dict = field(default_factory=dict)

    def tables_of(self, rows: int | slice, start: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines of rows from their first real token on, ``[*batch, tokens, head_dim]``.

        Without the dimension of the batch where all rows have the same.
        """
        rows = rows if len(self.cos) > 1 else 0
        return self.cos[rows, start:], self.sin[rows, start:]

    def of(self, rows: Tensor | None) -> LayerSegment:
        """The same with ``[batch]`` rows of its own in another order; ``None``: as they are."""
        if rows is None:
            return self
        mask, position = (
            one[rows.to(one.device)] if isinstance(one, Tensor) else one
            for one in (self.mask, self.next_position)
        )
        return replace(self, mask=mask, next_position=position)

    def change(self, cos: Tensor, sin: Tensor, mask: Tensor | None) -> None:
        """Set what the layers of this segment get in place of what the model gives them."""
        # Flash kernels would take the gaps in the position ids for packed sequences, so none are
        # given.
        self.arguments = {
            "position_embeddings": (cos, sin), "attention_mask": mask, "position_ids": None,
        }  # fmt: skip

    def continued_mask(
        self, new: int, attention_mask: Tensor | None, batch: int, device: torch.device
    ) -> Tensor | None:
        """The mask of the prefill's tokens and of ``new`` ones behind them.

        Parameters
        ----------
        new
            Tokens since the prefill.
        attention_mask
            Of the call, ``[batch, tokens]``; its end is about the new tokens.
        batch, device
            Of the call.
        """
        if self.mask is None and attention_mask is None:
            return None
        head, tail = self.mask, None
        if head is None:
            head = torch.ones(batch, self.length, dtype=torch.bool, device=device)
        if attention_mask is not None:
            tail = attention_mask[:, attention_mask.shape[1] - new :].bool()
        else:
            tail = torch.ones(batch, new, dtype=torch.bool, device=device)
        return torch.cat([head, tail], dim=1)


class Positions:
    """Positions and rotary tables at the input of layer 0, and after every stage.

    Parameters
    ----------
    adapter
        The model's parts.
    samples
        Layout of the rows at the input of layer 0.
    hidden
        Its hidden states.
    positions
        Position ids of the decoder, ``None`` where the model counts from 0.
    tables
        Its rotary tables (cosines, sines).
    """

    def __init__(
        self,
        adapter: Adapter,
        samples: tuple[SampleLayout, ...],
        hidden: Tensor,
        positions: Tensor | None,
        tables: tuple[Tensor, Tensor],
    ) -> None:
        self.adapter, self.first, self.tables = adapter, samples, tables
        self.from_zero, self._given = positions is None, positions
        self._length, self._device = hidden.shape[1], hidden.device

    @cached_property
    def rows(self) -> Tensor:
        """``[rows, tokens]`` positions; one row where all have the same."""
        if self._given is None:
            return torch.arange(self._length, device=self._device)[None]
        # With M-RoPE the first and the last token, being text, have one position on all axes.
        return self._given if self._given.ndim == 2 else self._given[-1]

    def original(
        self, hidden: Tensor, samples: Sequence[SampleLayout], mask: Tensor | None, shortened: bool
    ) -> LayerSegment:
        """A segment in which all tokens keep their positions.

        Parameters
        ----------
        hidden, samples, mask
            After the stage.
        shortened
            Whether layer 0 lost tokens: the model counts positions by its cache, and then too few.
        """
        slots = pad_left([sample.stacked(sample.slots) for sample in samples])
        cos, sin = (_gather(table, slots) for table in self.tables)
        last = self.rows[:, -1:].expand(len(hidden), -1)
        return LayerSegment(hidden.shape[1], mask, cos, sin, last + 1 if shortened else None)

    def renumbered(
        self, hidden: Tensor, samples: Sequence[SampleLayout], mask: Tensor | None
    ) -> LayerSegment:
        """A segment whose positions go on from each row's first one, without gaps."""
        length, device = hidden.shape[1], hidden.device
        if mask is None and self.from_zero and self._follow_from_position():
            # Every row counts from 0: the tables at hand begin with the ones that are needed.
            cos, sin = (table[:, :length] for table in self.tables)
            return LayerSegment(length, mask, cos, sin, length)
        offsets = [torch.arange(sample.tokens, device=device) for sample in samples]
        sizes = [(sample.batch or (1,))[0] for sample in samples]
        offsets = [one.expand(size, -1) for one, size in zip(offsets, sizes, strict=True)]
        positions = pad_left(offsets) + self._firsts(len(hidden))
        cos, sin = self.adapter.rotary(hidden, positions)
        return LayerSegment(length, mask, cos, sin, positions[:, -1:] + 1)

    def _firsts(self, count: int) -> Tensor:
        """``[count, 1]`` position of the first real token of every row."""
        rows = self.rows.expand(count, -1)
        found = [rows[one.rows, rows.shape[1] - one.tokens, None] for one in self.first]
        return pad_left([one.stacked(place) for one, place in zip(self.first, found, strict=True)])

    def _follow_from_position(self) -> bool:
        """Whether a token's angles follow from its position alone, whatever the length."""
        kind = getattr(self.adapter.decoder.rotary_emb, "rope_type", None)
        return kind == "default" and not self.adapter.has_mrope


def together(samples: Sequence[SampleLayout]) -> tuple[SampleLayout, ...]:
    """Adjacent samples at their beginning with parts of equal sizes and grids as one layout."""
    groups = []
    for _, found in itertools.groupby(samples, lambda sample: sample.sizes):
        first, *more = found
        if not more:
            groups.append(first)
            continue
        count = 1 + len(more)
        images = tuple(replace(image, batch=(count,), cache={}) for image in first.images)
        rows = slice(first.rows, first.rows + count)
        groups.append(replace(first, rows=rows, images=images))
    return tuple(groups)


def silence(
    samples: tuple[SampleLayout, ...], question_tokens: int | Sequence[int] | None
) -> tuple[SampleLayout, ...]:
    """Let only the last tokens of the prompts rate.

    Parameters
    ----------
    samples
        From `arrange`.
    question_tokens
        How many, of all or of each (beam search repeats every row); ``None``: all of them.

    Raises
    ------
    ValueError
        If there is not a number for each sample, or fewer tokens than that follow its last image.
    """
    if question_tokens is None:
        return samples
    given = [question_tokens] if isinstance(question_tokens, int) else list(question_tokens)
    if not given or len(samples) % len(given):
        raise ValueError(
            f"question_tokens must be one number, or one for each of the {len(samples)} samples, "
            f"got {question_tokens!r}"
        )
    found = []
    for row, sample in enumerate(samples):
        count = given[row * len(given) // len(samples)]
        if sample.images and not 1 <= count <= sample.prompt_text:
            raise ValueError(
                f"question_tokens={count} for sample {row}, after whose last image "
                f"{sample.prompt_text} tokens come; give the length of the last question, from 1 "
                f"to {sample.prompt_text}"
            )
        found.append(replace(sample, asked=count) if sample.images else sample)
    return tuple(found)


def pad_left(parts: Sequence[Tensor]) -> Tensor:
    """Put ``[rows, tokens, ...]`` of different lengths below each other, zeros on the left."""
    if len(parts) == 1:
        return parts[0]
    length, count = max(part.shape[1] for part in parts), sum(map(len, parts))
    if all(part.shape[1] == length for part in parts):
        return torch.cat(tuple(parts))
    padded, first = parts[0].new_zeros(count, length, *parts[0].shape[2:]), 0
    for part in parts:
        padded[first : first + len(part), length - part.shape[1] :] = part
        first += len(part)
    return padded


def real_tokens(samples: Sequence[SampleLayout], length: int, device: torch.device) -> Tensor:
    """Mask ``[batch, length]`` of left-padded rows, True for real tokens."""
    index = torch.arange(length, device=device)
    # Number by number: a tensor made of a list would make the host wait for the device.
    rows = [(index >= length - one.tokens).expand(*one.batch, -1) for one in samples]
    return pad_left([one.stacked(row) for one, row in zip(samples, rows, strict=True)])


@phase("cut")
def causal_mask(
    decoder: Any, mask: Tensor | None, hidden: Tensor, arguments: dict, layer: int
) -> Tensor | None:
    """What the attention of one layer gets, as the model itself would make it."""
    # Each layer of a pruned model has its own cache length; layer_idx sizes the mask for it.
    return create_causal_mask(
        config=decoder.config, inputs_embeds=hidden, attention_mask=mask,
        past_key_values=arguments.get("past_key_values"), layer_idx=layer,
    )  # fmt: skip


def _gather(table: Tensor, slots: Tensor) -> Tensor:
    table = table.expand(len(slots), -1, -1)
    return table.gather(1, slots[..., None].expand(-1, -1, table.shape[-1]))
