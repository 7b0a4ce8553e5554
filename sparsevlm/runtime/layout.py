"""Where the tokens of every sample lie in a batch, and what a selection does to them. Pure.

Adjacent rows with parts of equal sizes are pruned at once, where the method can: a layout is then
about all of them, and its tensors have a dimension in front.

A batch row is ``[padding | before the image | visual | text]``. The parts have known sizes (plain
integers), so a stage with fixed counts needs no host synchronization.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from sparsevlm.core.interface import Selection
from sparsevlm.core.scoring import pick


@dataclass(frozen=True, eq=False)
class SampleLayout:
    """The current tokens of one sample, or of some with parts of equal sizes, ``[*batch]``.

    Their number is known; which they are is found on demand.

    Attributes
    ----------
    before, visual, text
        Sizes of the three parts. ``visual`` is 0 for a sample without an image.
    prompt_text
        Text tokens that belong to the prompt; more only when a call without a cache carries the
        answer so far.
    num_visual
        Visual tokens before any stage.
    start
        Where the sample begins in its row at layer 0.
    device
        Of its tokens.
    num_recycled
        Recycled tokens created so far.
    change
        What the last stage did; ``None`` before any.
    cache
        See `PruningContext`.
    rows
        Of the batch: the number of the sample, or a slice of some.
    """

    before: int
    visual: int
    text: int
    prompt_text: int
    num_visual: int
    start: int
    device: torch.device
    num_recycled: int = 0
    change: Change | None = None
    cache: dict = field(default_factory=dict)
    rows: int | slice = 0

    @property
    def batch(self) -> tuple[int, ...]:
        """Leading dimensions: none for one sample."""
        return () if isinstance(self.rows, int) else (self.rows.stop - self.rows.start,)

    @property
    def numbers(self) -> range:
        """Of its rows in the batch."""
        one = isinstance(self.rows, int)
        return range(self.rows, self.rows + 1) if one else range(self.rows.start, self.rows.stop)

    @property
    def tokens(self) -> int:
        """Tokens without padding."""
        return self.before + self.visual + self.text

    @property
    def columns(self) -> slice:
        """The visual part, counted from the first real token."""
        return slice(self.before, self.before + self.visual)

    @cached_property
    def source(self) -> Tensor:
        """``[*batch, visual]`` original index, or ``num_visual + j`` for the j-th recycled one."""
        if self.change is None:
            return self._counted(0, self.visual)
        previous, keep, _, _, order, _ = self.change
        source = torch.cat([previous.source.gather(-1, keep), self.created], dim=-1)
        return source if order is None else source.gather(-1, order)

    @cached_property
    def created(self) -> Tensor:
        """``[*batch, created]``: who the vectors of the last stage are, see `source`."""
        assert self.change is not None
        previous, _, created, anchors, _, alone = self.change
        first = previous.num_visual + previous.num_recycled
        if alone is None or anchors is None:
            return self._counted(first, created)
        merged = first + (~alone).cumsum(dim=-1) - 1
        return torch.where(alone, previous.source.gather(-1, anchors), merged)

    @cached_property
    def slots(self) -> Tensor:
        """``[*batch, tokens]`` index in the row at layer 0; -1: recycled and without an anchor."""
        if self.change is None:
            return self._counted(self.start, self.tokens)
        previous, keep, created, anchors, order, _ = self.change
        slots = previous.slots[..., None]
        before = slots[..., previous.columns, :]
        if anchors is None:
            middle = [pick(before, keep), keep.new_full((*self.batch, created, 1), -1)]
        else:
            middle = [pick(before, torch.cat([keep, anchors], dim=-1))]
        if order is not None:
            middle = [pick(torch.cat(middle, dim=-2), order)]
        return _between(previous, slots, middle)[..., 0]

    def _counted(self, first: int, count: int) -> Tensor:
        numbers = torch.arange(first, first + count, device=self.device)
        return numbers.expand(*self.batch, -1)

    def stacked(self, tokens: Tensor) -> Tensor:
        """What is about these rows with a dimension for them, also where it is one."""
        return tokens if self.batch else tokens[None]


class Change(NamedTuple):
    """What one stage did to a sample.

    Attributes
    ----------
    previous
        The sample before.
    keep
        ``[*batch, num_kept]`` indices of the visual tokens that stay.
    created
        Number of recycled tokens.
    anchors
        ``[*batch, created]``, where they have places; ``None``: they follow the kept tokens.
    order
        How kept and recycled tokens are sorted; ``None``: the recycled ones come last.
    alone
        See `Groups`.
    """

    previous: SampleLayout
    keep: Tensor
    created: int
    anchors: Tensor | None
    order: Tensor | None
    alone: Tensor | None = None


def locate(
    visual: Tensor, attention_mask: Tensor | None, prompt_length: int
) -> tuple[SampleLayout, ...]:
    """Find the parts of every row; the one host synchronization of a prefill.

    Parameters
    ----------
    visual
        ``[batch, tokens]`` bool.
    attention_mask
        ``[batch, tokens]``, non-zero for real tokens, or ``None``.
    prompt_length
        Leading tokens of the row (padding included) that are prompt.

    Raises
    ------
    ValueError
        If a row is not left-padded, its visual tokens are not one block (several images), or no
        text token follows them.
    """
    extents = _extents(visual, attention_mask)
    return _samples(extents, visual.shape[1], prompt_length, visual.device)


def locate_span(
    shape: tuple[int, int], span: tuple[int, int], prompt_length: int, device: torch.device
) -> tuple[SampleLayout, ...]:
    """The same where all rows are without padding and have their visual tokens at one known place.

    No tensor is looked at, so the host waits for nothing.

    Parameters
    ----------
    shape
        (batch, tokens).
    span
        (start, stop) of the visual tokens, in the prompt.
    prompt_length
        See `locate`.
    device
        Where the tokens are.
    """
    batch, length = shape
    start, stop, _ = slice(*span).indices(prompt_length)
    count = max(stop - start, 0)
    extent = [count, start, start + count - 1 if count else -1, length, 0]
    return _samples([extent] * batch, length, prompt_length, device)


def _samples(
    extents: list[list[int]], length: int, prompt_length: int, device: torch.device
) -> tuple[SampleLayout, ...]:
    samples = []
    for row, (count, first, last, tokens, start) in enumerate(extents):
        if start + tokens != length:
            raise ValueError(
                f"sample {row} is not padded on the left only; set tokenizer.padding_side='left'"
            )
        if count and last - first + 1 != count:
            raise ValueError(
                f"the visual tokens of sample {row} are not one block; several images per sample "
                "are not supported, give each image its own sample; a placeholder inside a text "
                "counts as one, take it out"
            )
        text = length - last - 1 if count else tokens
        if count and min(text, prompt_length - last - 1) < 1:
            raise ValueError(
                f"sample {row} has no text after the image, so the question is empty; write the "
                "question after the image"
            )
        before = first - start if count else 0
        prompt_text = prompt_length - last - 1 if count else text
        samples.append(
            SampleLayout(before, count, text, prompt_text, count, start, device, rows=row)
        )
    return tuple(samples)


def _extents(visual: Tensor, attention_mask: Tensor | None) -> list[list[int]]:
    """For every row: visual tokens, the first and the last of them, real tokens and the first."""
    length = visual.shape[1]
    marks = visual[None] if attention_mask is None else torch.stack([visual, attention_mask.bool()])
    marks = marks.to(torch.uint8)
    # Of equal values argmax gives the first, which from behind is the last.
    first, last = marks.argmax(-1), length - 1 - marks.flip(-1).argmax(-1)
    counts, firsts, lasts = torch.stack([marks.sum(-1), first, last]).tolist()
    visual_parts = zip(counts[0], firsts[0], lasts[0], strict=True)
    if attention_mask is None:
        return [[*part, length, 0] for part in visual_parts]
    return [[*part, *rest] for part, *rest in zip(visual_parts, counts[1], firsts[1], strict=True)]


def apply(
    sample: SampleLayout, hidden: Tensor, selection: Selection
) -> tuple[SampleLayout, Tensor]:
    """Carry out a selection on one sample, or on some at once.

    Parameters
    ----------
    sample
        Where its tokens are.
    hidden
        ``[*batch, tokens, hidden]`` without padding.
    selection
        The decision.

    Returns
    -------
    sample, hidden
        The same, after it.
    """
    keep, groups, anchors = selection.keep, selection.groups, selection.anchors
    vectors = selection.vectors
    created = 0 if vectors is None else vectors.shape[-2]
    middle = [pick(hidden[..., sample.columns, :], keep)]
    if vectors is not None and created:
        middle.append(vectors)
    order = selection.order
    if anchors is not None:
        order = torch.cat([keep, anchors], dim=-1).argsort(dim=-1, stable=True)
    if order is not None:
        middle = [pick(torch.cat(middle, dim=-2), order)]
    after = replace(
        sample, visual=keep.shape[-1] + created, num_recycled=sample.num_recycled + created,
        change=Change(sample, keep, created, anchors, order, groups and groups.alone),
    )  # fmt: skip
    return after, _between(sample, hidden, middle)


def _between(sample: SampleLayout, rows: Tensor, middle: list[Tensor]) -> Tensor:
    """The rows of a sample with others in place of the visual ones, by a single copy."""
    before, after = rows[..., : sample.before, :], rows[..., sample.columns.stop :, :]
    return torch.cat([before, *middle, after], dim=-2)
