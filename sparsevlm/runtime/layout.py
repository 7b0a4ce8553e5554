"""Where the tokens of every sample lie in a batch, and what a selection does to them. Pure.

A batch row is ``[padding | before the image | visual | text]``. The parts have known sizes (plain
integers), so a stage with fixed counts needs no host synchronization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from sparsevlm.core.interface import Selection


@dataclass(frozen=True, eq=False)
class SampleLayout:
    """The current tokens of one sample. Their number is known; which they are is found on demand.

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
        """``[visual]`` original index, or ``num_visual + j`` for the j-th recycled token."""
        if self.change is None:
            return torch.arange(self.visual, device=self.device)
        previous, keep, created, _, order = self.change
        first = previous.num_visual + previous.num_recycled
        recycled = torch.arange(first, first + created, device=keep.device)
        source = torch.cat([previous.source[keep], recycled])
        return source if order is None else source[order]

    @cached_property
    def slots(self) -> Tensor:
        """``[tokens]`` index in the row at layer 0; -1 for a recycled token without an anchor."""
        if self.change is None:
            return torch.arange(self.start, self.start + self.tokens, device=self.device)
        previous, keep, created, anchors, order = self.change
        before = previous.slots[previous.columns]
        if anchors is None:
            places = torch.cat([before[keep], keep.new_full((created,), -1)])
        else:
            places = before[torch.cat([keep, anchors])]
        places = [places if order is None else places[order]]
        return _between(previous, previous.slots, places)


class Change(NamedTuple):
    """What one stage did to a sample.

    Attributes
    ----------
    previous
        The sample before.
    keep
        ``[num_kept]`` indices of the visual tokens that stay.
    created
        Number of recycled tokens.
    anchors
        ``[created]``, where they have places; ``None``: they follow the kept tokens.
    order
        How kept and recycled tokens are sorted; ``None``: the recycled ones come last.
    """

    previous: SampleLayout
    keep: Tensor
    created: int
    anchors: Tensor | None
    order: Tensor | None


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
        samples.append(SampleLayout(before, count, text, prompt_text, count, start, device))
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
    """Carry out a selection on one sample.

    Parameters
    ----------
    sample
        Where its tokens are.
    hidden
        ``[tokens, hidden]`` without padding.
    selection
        The decision.

    Returns
    -------
    sample, hidden
        The same, after it.
    """
    keep, vectors, anchors = selection.keep, selection.vectors, selection.anchors
    middle = [hidden[sample.columns].index_select(0, keep)]
    if vectors is not None and len(vectors):
        middle.append(vectors)
    order = selection.order
    if anchors is not None:
        order = torch.cat([keep, anchors]).argsort(stable=True)
    if order is not None:
        middle = [torch.cat(middle)[order]]
    created = sum(map(len, middle)) - len(keep)
    after = replace(
        sample, visual=len(keep) + created, num_recycled=sample.num_recycled + created,
        change=Change(sample, keep, created, anchors, order),
    )  # fmt: skip
    return after, _between(sample, hidden, middle)


def _between(sample: SampleLayout, rows: Tensor, middle: list[Tensor]) -> Tensor:
    """The rows of a sample with others in place of the visual ones, by a single copy."""
    return torch.cat([rows[: sample.before], *middle, rows[sample.columns.stop :]])


def check_selection(sample: SampleLayout, selection: Selection) -> None:
    """Check that a selection fits the sample it was made for.

    Raises
    ------
    ValueError
        If it keeps nothing, or more than there is, or is not made of indices.
    """
    created = 0 if selection.vectors is None else len(selection.vectors)
    if selection.keep.ndim != 1 or selection.keep.dtype != torch.int64:
        raise ValueError("Selection.keep must be a one-dimensional int64 tensor of indices")
    if not 1 <= len(selection.keep) + created or len(selection.keep) > sample.visual:
        raise ValueError(
            f"Selection keeps {len(selection.keep)} and recycles into {created} of "
            f"{sample.visual} visual tokens; at least one must stay, and no more than there are"
        )
    if (selection.vectors is None) != (selection.groups is None):
        raise ValueError("Selection.groups and Selection.vectors come together or not at all")


def pad_left(rows: Sequence[Tensor]) -> Tensor:
    """Stack ``[tokens, ...]`` rows of different lengths, zeros on the left."""
    length = max(len(row) for row in rows)
    if all(len(row) == length for row in rows):
        return rows[0].unsqueeze(0) if len(rows) == 1 else torch.stack(tuple(rows))
    padded = rows[0].new_zeros(len(rows), length, *rows[0].shape[1:])
    for number, row in enumerate(rows):
        padded[number, length - len(row) :] = row
    return padded
