"""Where the tokens of every sample lie in a batch, and what a selection does to them. Pure.

A batch row is ``[padding | before the image | visual | text]``. The parts have known sizes (plain
integers), so a stage with fixed counts needs no host synchronization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from sparsevlm.core.interface import Selection


@dataclass(frozen=True)
class Sample:
    """The current tokens of one sample.

    Attributes
    ----------
    before, visual, text
        Sizes of the three parts. ``visual`` is 0 for a sample without an image.
    prompt_text
        Text tokens that belong to the prompt; more only when a call without a cache carries the
        answer so far.
    num_visual
        Visual tokens before any stage.
    source
        ``[visual]`` original index, or ``num_visual + j`` for the j-th recycled token.
    slots
        ``[tokens]`` index of every token in the row at layer 0; -1 for a recycled token without
        an anchor.
    num_recycled
        Recycled tokens created so far.
    """

    before: int
    visual: int
    text: int
    prompt_text: int
    num_visual: int
    source: Tensor
    slots: Tensor
    num_recycled: int = 0
    cache: dict = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens without padding."""
        return self.before + self.visual + self.text

    @property
    def device(self) -> torch.device:
        """Where its indices are."""
        return self.slots.device

    @property
    def columns(self) -> slice:
        """The visual part, counted from the first real token."""
        return slice(self.before, self.before + self.visual)


def locate(visual: Tensor, attention_mask: Tensor | None, prompt_length: int) -> tuple[Sample, ...]:
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
) -> tuple[Sample, ...]:
    """The same where all rows are without padding and have their visual tokens at one known place.

    No tensor is looked at, so the host waits for nothing.

    Parameters
    ----------
    shape
        (batch, tokens).
    span
        (start, stop) of the visual tokens.
    prompt_length
        See `locate`.
    device
        Where the tokens are.
    """
    batch, length = shape
    start, stop, _ = slice(*span).indices(length)
    count = max(stop - start, 0)
    extent = [count, start, start + count - 1 if count else -1, length, 0]
    return _samples([extent] * batch, length, prompt_length, device)


def _samples(
    extents: list[list[int]], length: int, prompt_length: int, device: torch.device
) -> tuple[Sample, ...]:
    samples = []
    for row, (count, first, last, tokens, start) in enumerate(extents):
        if start + tokens != length:
            raise ValueError(
                f"sample {row} is not padded on the left only; set tokenizer.padding_side='left'"
            )
        if count and last - first + 1 != count:
            raise ValueError(
                f"the visual tokens of sample {row} are not one block; several images per sample "
                "are not supported, give each image its own sample"
            )
        text = length - last - 1 if count else tokens
        if count and min(text, prompt_length - last - 1) < 1:
            raise ValueError(
                f"sample {row} has no text after the image, so the question is empty; write the "
                "question after the image"
            )
        before = first - start if count else 0
        prompt_text = prompt_length - last - 1 if count else text
        samples.append(FirstSample(before, count, text, prompt_text, start, device))
    return tuple(samples)


class FirstSample(Sample):
    """A sample before any stage. Its tokens are numbered when somebody asks.

    Parameters are those of `Sample`, where it begins in its row, and the device of its tokens.
    """

    _start: int
    _device: torch.device

    def __init__(
        self, before: int, visual: int, text: int, prompt_text: int, start: int,
        device: torch.device,
    ) -> None:  # fmt: skip
        # Frozen for everybody else.
        self.__dict__.update(
            before=before, visual=visual, text=text, prompt_text=prompt_text, num_visual=visual,
            num_recycled=0, cache={}, _start=start, _device=device,
        )  # fmt: skip

    device = property(lambda self: self._device)  # nothing is numbered for it

    @cached_property
    def source(self) -> Tensor:
        """See `Sample`."""
        return torch.arange(self.visual, device=self._device)

    @cached_property
    def slots(self) -> Tensor:
        """See `Sample`."""
        return torch.arange(self._start, self._start + self.tokens, device=self._device)


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


def apply(sample: Sample, hidden: Tensor, selection: Selection) -> tuple[Sample, Tensor]:
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
    order = None
    if anchors is not None:
        order = torch.cat([keep, anchors]).argsort(stable=True)
        middle = [torch.cat(middle)[order]]
    new = PrunedSample(sample, keep, sum(map(len, middle)) - len(keep), anchors, order)
    return new, _between(sample, hidden, middle)


class PrunedSample(Sample):
    """A sample after a stage. Which tokens are left is worked out when somebody asks.

    Parameters
    ----------
    previous
        The sample before the stage.
    keep
        ``[num_kept]`` indices of the visual tokens that stay.
    created
        Number of recycled tokens.
    anchors
        ``[created]``, where they have places; ``None``: they follow the kept tokens.
    order
        With anchors: how kept and recycled tokens are sorted.
    """

    _previous: Sample
    _keep: Tensor
    _created: int
    _anchors: Tensor | None
    _order: Tensor | None

    def __init__(
        self, previous: Sample, keep: Tensor, created: int, anchors: Tensor | None,
        order: Tensor | None,
    ) -> None:  # fmt: skip
        # Frozen for everybody else.
        self.__dict__.update(
            before=previous.before, visual=len(keep) + created, text=previous.text,
            prompt_text=previous.prompt_text, num_visual=previous.num_visual,
            num_recycled=previous.num_recycled + created, cache=previous.cache,
            _previous=previous, _keep=keep, _created=created, _anchors=anchors, _order=order,
        )  # fmt: skip

    @cached_property
    def source(self) -> Tensor:
        """See `Sample`."""
        previous, keep = self._previous, self._keep
        first = previous.num_visual + previous.num_recycled
        created = torch.arange(first, first + self._created, device=keep.device)
        source = torch.cat([previous.source[keep], created])
        return source if self._order is None else source[self._order]

    @cached_property
    def slots(self) -> Tensor:
        """See `Sample`."""
        previous, keep = self._previous, self._keep
        before = previous.slots[previous.columns]
        if self._anchors is None:
            places = [before[keep], keep.new_full((self._created,), -1)]
        else:
            places = [before[torch.cat([keep, self._anchors])[self._order]]]
        return _between(previous, previous.slots, places)


def _between(sample: Sample, rows: Tensor, middle: list[Tensor]) -> Tensor:
    """The rows of a sample with others in place of the visual ones, by a single copy."""
    return torch.cat([rows[: sample.before], *middle, rows[sample.columns.stop :]])


def check_selection(sample: Sample, selection: Selection) -> None:
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
    for target, row in zip(padded, rows, strict=True):
        target[length - len(row) :] = row
    return padded
