"""Where the tokens of every sample lie in a batch, and what a selection does to them. Pure.

A batch row is ``[padding | before the image | visual | text]``. The parts have known sizes (plain
integers), so a cut with fixed counts needs no host synchronisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sparsevlm.contract import Selection, View


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
        Visual tokens before any cut.
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
    memo: dict = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens without padding."""
        return self.before + self.visual + self.text

    @property
    def columns(self) -> slice:
        """The visual part, counted from the first real token."""
        return slice(self.before, self.before + self.visual)


def locate(
    visual: Tensor, attention_mask: Tensor | None, prompt_length: int
) -> tuple[Sample, ...]:
    """Find the parts of every row; the one host synchronisation of a prefill.

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
    length = visual.shape[1]
    real = torch.ones_like(visual) if attention_mask is None else attention_mask.bool()
    index = torch.arange(length, device=visual.device)
    first = torch.where(visual, index, length).amin(1)
    last = torch.where(visual, index, -1).amax(1)
    start = torch.where(real, index, length).amin(1)
    table = torch.stack([visual.sum(1), first, last, real.sum(1), start], dim=1).tolist()
    samples = []
    for row, (count, first, last, tokens, start) in enumerate(table):
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
        samples.append(
            Sample(
                before=first - start if count else 0,
                visual=count,
                text=text,
                prompt_text=prompt_length - last - 1 if count else text,
                num_visual=count,
                source=torch.arange(count, device=visual.device),
                slots=torch.arange(start, length, device=visual.device),
            )
        )
    return tuple(samples)


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
    columns = sample.columns
    slots = sample.slots[columns]
    pieces, ids, places = [hidden[columns][keep]], [sample.source[keep]], [slots[keep]]
    created = 0 if vectors is None else len(vectors)
    if created:
        pieces.append(vectors)
        first = sample.num_visual + sample.num_recycled
        ids.append(torch.arange(first, first + created, device=keep.device))
        places.append(slots[anchors] if anchors is not None else torch.full_like(ids[-1], -1))
    middle, source, slots = torch.cat(pieces), torch.cat(ids), torch.cat(places)
    if anchors is not None:
        order = torch.cat([keep, anchors]).argsort(stable=True)
        middle, source, slots = middle[order], source[order], slots[order]
    after = columns.stop
    new = replace(
        sample,
        visual=len(middle),
        source=source,
        slots=torch.cat([sample.slots[: sample.before], slots, sample.slots[after:]]),
        num_recycled=sample.num_recycled + created,
    )
    return new, torch.cat([hidden[: sample.before], middle, hidden[after:]])


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


def view_of(
    sample: Sample,
    hidden: Tensor,
    inputs: Tensor,
    *,
    layer: int,
    num_layers: int,
    grid: tuple[int, ...] | None,
    rotary: tuple[Tensor, Tensor],
    rows: Callable[[Tensor, slice], Tensor],
    prompt_key: Callable[[], int],
) -> View:
    """The read-only view of one sample. ``hidden``, ``inputs`` and the rotary tables (cosines and
    sines of the current tokens) come without padding.
    """
    columns, text = sample.columns, sample.columns.stop
    prompt = slice(text, text + sample.prompt_text)
    first_text = sample.before + sample.num_visual
    return View(
        layer=layer,
        num_layers=num_layers,
        visual=hidden[columns],
        text=hidden[prompt],
        source=sample.source,
        num_visual=sample.num_visual,
        grid=grid,
        inputs_visual=inputs[sample.before : first_text],
        inputs_text=inputs[first_text : first_text + sample.prompt_text],
        attention_rows=lambda raters: rows(raters + text, columns),
        prompt_key=prompt_key,
        rotary_visual=tuple(table[columns] for table in rotary),
        rotary_text=tuple(table[prompt] for table in rotary),
        memo=sample.memo,
    )


def pad_left(rows: Sequence[Tensor]) -> Tensor:
    """Stack ``[tokens, ...]`` rows of different lengths, zeros on the left."""
    length = max(len(row) for row in rows)
    if all(len(row) == length for row in rows):
        return rows[0].unsqueeze(0) if len(rows) == 1 else torch.stack(tuple(rows))
    padded = rows[0].new_zeros(len(rows), length, *rows[0].shape[1:])
    for target, row in zip(padded, rows, strict=True):
        target[length - len(row) :] = row
    return padded
