"""Where the tokens of every sample lie in a batch, and what a selection does to them. Pure.

Adjacent rows with parts of equal sizes are pruned at once, where the method can: a layout is then
about all of them, and its tensors have a dimension in front.

A batch row is ``[padding | text | image | text | image | ... | text]``, most often with one image.
The parts have known sizes (plain integers), so a stage with fixed counts needs no host
synchronization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from sparsevlm.core.interface import Selection
from sparsevlm.core.scoring import pick
from sparsevlm.runtime.adapter import Picture


@dataclass(frozen=True, eq=False)
class ImageLayout:
    """The current visual tokens of an image (or video), or of one in each of some samples.

    Their number is known; which they are is found on demand.

    Attributes
    ----------
    before
        Text tokens between it and the image before it, or the beginning of the sample.
    visual
        Its visual tokens.
    start
        Where they begin in the row at layer 0.
    picture
        What the model was shown.
    device
        Of its tokens.
    batch
        Leading dimensions of its tensors: none for one sample.
    num_recycled
        Recycled tokens created so far.
    change
        What the last stage did; ``None`` before any.
    cache
        See `PruningContext`.
    """

    before: int
    visual: int
    start: int
    picture: Picture
    device: torch.device
    batch: tuple[int, ...] = ()
    num_recycled: int = 0
    change: Change | None = None
    cache: dict = field(default_factory=dict)

    @property
    def num_visual(self) -> int:
        """Visual tokens before any stage."""
        return self.picture.tokens

    @cached_property
    def source(self) -> Tensor:
        """``[*batch, visual]`` original index, or ``num_visual + j`` for the j-th recycled one."""
        if self.change is None:
            return _counted(0, self.visual, self)
        return self.change.carry_out(self.change.previous.source, self.created)

    @cached_property
    def created(self) -> Tensor:
        """``[*batch, created]``: who the vectors of the last stage are, see `source`."""
        assert self.change is not None
        previous, _, created, anchors, _, alone = self.change
        first = previous.num_visual + previous.num_recycled
        if alone is None or anchors is None:
            return _counted(first, created, self)
        merged = first + (~alone).cumsum(dim=-1) - 1
        return torch.where(alone, previous.source.gather(-1, anchors), merged)

    @cached_property
    def slots(self) -> Tensor:
        """``[*batch, visual]`` index in the row at layer 0; -1: recycled and without an anchor."""
        if self.change is None:
            return _counted(self.start, self.visual, self)
        previous, keep, created, anchors, _, _ = self.change
        if anchors is None:
            places = keep.new_full((*self.batch, created), -1)
        else:
            places = previous.slots.gather(-1, anchors)
        return self.change.carry_out(previous.slots, places)


class Change(NamedTuple):
    """What one stage did to an image.

    Attributes
    ----------
    previous
        The image before.
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

    previous: ImageLayout
    keep: Tensor
    created: int
    anchors: Tensor | None
    order: Tensor | None
    alone: Tensor | None = None

    def carry_out(self, values: Tensor, created: Tensor) -> Tensor:
        """Values ``[*batch, visual]`` of the tokens before, and of the created ones, after it."""
        values = torch.cat([values.gather(-1, self.keep), created], dim=-1)
        return values if self.order is None else values.gather(-1, self.order)


@dataclass(frozen=True, eq=False)
class SampleLayout:
    """The current tokens of one sample, or of some with parts of equal sizes, ``[*batch]``.

    Attributes
    ----------
    images
        In order; none in a sample of text.
    text
        Text tokens after the last image, or all.
    prompt_text
        Those of them that belong to the prompt; fewer only when a call without a cache carries the
        answer so far.
    start
        Where the sample begins in its row at layer 0.
    device
        Of its tokens.
    rows
        Of the batch: the number of the sample, or a slice of some.
    asked
        How many tokens at the end of the prompt may rate, see ``question_tokens`` of `prune`;
        ``None``: all that follow an image.
    """

    images: tuple[ImageLayout, ...]
    text: int
    prompt_text: int
    start: int
    device: torch.device
    rows: int | slice = 0
    asked: int | None = None

    @property
    def sizes(self) -> tuple:
        """Of its parts, and the grids of its images."""
        images = tuple((one.before, one.visual, one.picture.grid) for one in self.images)
        return images, self.text, self.prompt_text, self.asked

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
    def prompt(self) -> int:
        """Tokens of the prompt, without padding."""
        return sum(one.before + one.visual for one in self.images) + self.prompt_text

    @property
    def tokens(self) -> int:
        """Tokens without padding."""
        return self.prompt - self.prompt_text + self.text

    def columns(self, image: int) -> slice:
        """The visual tokens of an image, counted from the first real token."""
        ahead = self.images[: image + 1]
        stop = sum(one.before + one.visual for one in ahead)
        return slice(stop - ahead[-1].visual, stop)

    def words(self, image: int, whole: bool = False) -> list[slice]:
        """The prompt's text after an image, or (``whole``) all of it, so far as it may rate.

        Counted as `columns`; never a token of another image.
        """
        if self.asked is not None:
            return [slice(self.prompt - self.asked, self.prompt)]
        found = []
        for number, one in enumerate(self.images):
            if whole or number > image:
                start = self.columns(number).start
                found.append(slice(start - one.before, start))
        return [*found, slice(self.prompt - self.prompt_text, self.prompt)]

    def text_of(self, tokens: Tensor, image: int, whole: bool) -> Tensor:
        """The `words` of ``[*batch, tokens, ...]``."""
        parts = [tokens[..., words, :] for words in self.words(image, whole)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2)

    def places(self, raters: Tensor, image: int, whole: bool) -> Tensor:
        """Positions in the `words` of an image as positions counted from its end."""
        end, words = self.columns(image).stop, self.words(image, whole)
        if len(words) == 1:
            return raters + (words[0].start - end) if words[0].start > end else raters
        counted = [torch.arange(one.start, one.stop, device=self.device) for one in words]
        return (torch.cat(counted) - end)[raters]

    def silent(self, image: int) -> int:
        """Text tokens after an image that rate nothing: earlier turns."""
        later = sum(one.before for one in self.images[image + 1 :]) + self.prompt_text
        return 0 if self.asked is None else later - self.asked

    @cached_property
    def slots(self) -> Tensor:
        """``[*batch, tokens]`` index in the row at layer 0; -1: recycled and without an anchor."""
        parts, end = [], self.start
        for one in self.images:
            parts += [_counted(end, one.before, self), one.slots]
            end = one.start + one.num_visual
        return torch.cat([*parts, _counted(end, self.text, self)], dim=-1)

    def stacked(self, tokens: Tensor) -> Tensor:
        """What is about these rows with a dimension for them, also where it is one."""
        return tokens if self.batch else tokens[None]


def _counted(first: int, count: int, of: SampleLayout | ImageLayout) -> Tensor:
    return torch.arange(first, first + count, device=of.device).expand(*of.batch, -1)


def apply(
    sample: SampleLayout, hidden: Tensor, selections: Sequence[Selection]
) -> tuple[SampleLayout, Tensor]:
    """Carry out what was selected of every image of one sample, or of some at once.

    Parameters
    ----------
    sample
        Where its tokens are.
    hidden
        ``[*batch, tokens, hidden]`` without padding.
    selections
        The decisions, one for each image.

    Returns
    -------
    sample, hidden
        The same, after it; themselves where all tokens stay as they are.
    """
    images, parts, end = [], [], 0
    for number, (image, selection) in enumerate(zip(sample.images, selections, strict=True)):
        columns = sample.columns(number)
        image, visual = _apply(image, hidden[..., columns, :], selection)
        images.append(image)
        parts += [hidden[..., end : columns.start, :], *visual]
        end = columns.stop
    if all(new is old for new, old in zip(images, sample.images, strict=True)):
        return sample, hidden
    rows = torch.cat([*parts, hidden[..., end:, :]], dim=-2)  # a single copy
    return replace(sample, images=tuple(images)), rows


def _apply(
    image: ImageLayout, visual: Tensor, selection: Selection
) -> tuple[ImageLayout, list[Tensor]]:
    keep, groups, anchors = selection.keep, selection.groups, selection.anchors
    vectors = selection.vectors
    if vectors is None and keep.shape[-1] == image.visual:
        return image, [visual]
    created = 0 if vectors is None else vectors.shape[-2]
    middle = [pick(visual, keep)]
    if vectors is not None and created:
        middle.append(vectors)
    order = selection.order
    if anchors is not None:
        order = torch.cat([keep, anchors], dim=-1).argsort(dim=-1, stable=True)
    if order is not None:
        middle = [pick(torch.cat(middle, dim=-2), order)]
    after = replace(
        image, visual=keep.shape[-1] + created, num_recycled=image.num_recycled + created,
        change=Change(image, keep, created, anchors, order, groups and groups.alone),
    )  # fmt: skip
    return after, middle
