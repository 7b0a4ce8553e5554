"""A prompt under `prune`: which of the model's calls are about it, and where its images are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from sparsevlm.runtime.adapter import Picture
from sparsevlm.runtime.checks import check_cache
from sparsevlm.runtime.hooks import HookOwner
from sparsevlm.runtime.layout import ImageLayout, SampleLayout


class Generation(StoppingCriteria):
    """One call of `generate`: which of the model's calls are about its prompt.

    Parameters
    ----------
    session
        Under which it runs.
    arguments
        Of the call, by name.

    Raises
    ------
    ValueError
        For a cache that `prune` cannot work with.
    """

    def __init__(self, session: HookOwner, arguments: dict) -> None:
        self.session, self.arguments, self.thread = session, arguments, get_ident()
        given = [arguments.get(name) for name in ("inputs_embeds", "inputs", "input_ids")]
        # What is no prompt is for `generate` itself to refuse.
        given = [one if getattr(one, "ndim", 0) > 1 else None for one in given]
        self.length = next((prompt.shape[1] for prompt in given if prompt is not None), 1)
        self.shapes = {name: one.shape for name, one in arguments.items() if hasattr(one, "shape")}
        cache = arguments.get("past_key_values")
        check_cache(cache)
        # With a filled cache the prompt is the one in the cache, and no prefill comes.
        self.awaited = cache is None or cache.get_seq_length() == 0
        # A turn of its own, once.
        self.continued = None if self.awaited else cache
        self.assisting = False
        self.ids: Tensor | None = next((ids for ids in given[1:] if ids is not None), None)
        if self.thread != session.thread:
            stopping = [*(arguments.get("stopping_criteria") or ()), self]
            self.arguments = {**arguments, "stopping_criteria": StoppingCriteriaList(stopping)}

    def __call__(self, input_ids: Tensor, scores: object, **kwargs: object) -> Tensor:
        """Never stops; but in a thread of its own, an answer may not outlive the block."""
        if not self.session.open:
            raise RuntimeError(
                "the block of prune() ended while this thread was still generating under it; "
                "join the thread inside the block"
            )
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)

    def check(self, config: GenerationConfig) -> None:
        """Check what `generate` makes of its arguments and of the model's defaults.

        Raises
        ------
        ValueError
            If the prompt is to come in chunks, or to be written anew.
        """
        chunk = config.prefill_chunk_size
        if chunk is not None and chunk < self.length and self.awaited:
            raise ValueError(
                f"prune() cannot prune a prompt in parts: prefill_chunk_size={chunk} cuts this one "
                f"of {self.length} tokens, and the words that rate may be in a later part. Leave "
                "prefill_chunk_size out"
            )
        if config.token_healing:
            raise ValueError(
                "token_healing makes the prompt anew from its text, where images have no place; "
                "leave it out under prune()"
            )

    def is_assisted_by(self, arguments: dict) -> bool:
        """Whether a ``generate`` inside this one is about its prompt or a side question.

        Before the prompt came it is one of its own, such as that of a ``custom_generate``, unless
        it is said to be an assistant.

        Parameters
        ----------
        arguments
            Of the call, by name.
        """
        config = arguments.get("generation_config")
        return not self.awaited or bool(getattr(config, "is_assistant", False))

    def is_turn(self, cache: object) -> bool:
        """Whether the call now running, on a filled cache, is the first of a further question."""
        found = self.continued is not None and self.continued is cache
        self.continued = None if found else self.continued
        return found

    def prompt_of(self, ids: Tensor | None, length: int) -> tuple[int, bool] | None:
        """Tokens of the prompt at the head of a prefill, and whether it is the first time.

        Without a cache the prompt comes again and again with the answer so far behind it, and
        assisted generation sends candidates along. ``None``: the prefill is about something else,
        such as the prompt without an image that ``guidance_scale`` looks at.

        Parameters
        ----------
        ids
            ``[batch, tokens]`` of the prefill, where it has them.
        length
            Its tokens.
        """
        waits = self.awaited and not self.assisting
        if not (waits and length == self.length) and not self._begins(ids):
            return None
        if waits:
            self.awaited = False
            self.ids = None if ids is None else ids[:, : self.length]
        return self.length, waits

    def shown(self, arguments: dict) -> dict:
        """Arguments of a call, and what ``generate`` kept from the model: the sizes of pictures."""
        given = {name: one for name, one in arguments.items() if one is not None}
        return {**self.arguments, **given}

    def _begins(self, ids: Tensor | None) -> bool:
        known = self.ids
        if ids is None or known is None or len(ids) != len(known):
            return False
        return torch.equal(ids[:, : known.shape[1]], known)

    def assist(self, own: Callable, *args: object, **kwargs: object) -> object:
        """Run a ``generate`` inside this one: the model, or its first layers, looks ahead."""
        self.assisting = True
        try:
            return own(*args, **kwargs)
        finally:
            self.assisting = False

    def fail(self) -> None:
        """After an error: who waits for a streamed answer waits no longer."""
        streamer = self.arguments.get("streamer")
        if streamer is not None and self.thread != self.session.thread:
            streamer.end()


def arguments_of(function: Callable, args: tuple, kwargs: dict) -> dict:
    """All arguments of a call by name."""
    if not args:
        return kwargs
    bound = inspect.signature(function).bind_partial(*args, **kwargs).arguments
    return {**bound, **bound.pop("kwargs", {})}


class Extent(NamedTuple):
    """The real tokens of a row: how many there are, the first, and (start, stop) of visual ones."""

    tokens: int
    start: int
    runs: list[tuple[int, int]]


def locate(visual: Tensor, attention_mask: Tensor | None) -> list[Extent]:
    """Find the visual tokens of every row; the one host synchronization of a prefill.

    Parameters
    ----------
    visual
        ``[batch, tokens]`` bool.
    attention_mask
        ``[batch, tokens]``, non-zero for real tokens, or ``None``.
    """
    marks = visual[None] if attention_mask is None else torch.stack([visual, attention_mask.bool()])
    marks = marks.cpu().to(torch.int8)
    edges = [row.nonzero().flatten().tolist() for row in _edges(marks[0])]
    runs = [list(zip(row[::2], row[1::2], strict=True)) for row in edges]
    counts = marks[-1].sum(-1).tolist() if len(marks) > 1 else [visual.shape[1]] * len(runs)
    firsts = marks[-1].argmax(-1).tolist() if len(marks) > 1 else [0] * len(runs)
    return list(map(Extent, counts, firsts, runs))


def _edges(marks: Tensor) -> Tensor:
    return torch.nn.functional.pad(marks, (1, 1)).diff(dim=1)


def locate_span(shape: tuple[int, int], span: tuple[int, int], prompt_length: int) -> list[Extent]:
    """The same where all rows are without padding and have their visual tokens at one known place.

    No tensor is looked at, so the host waits for nothing.

    Parameters
    ----------
    shape
        (batch, tokens).
    span
        (start, stop) of the visual tokens, in the prompt.
    prompt_length
        Leading tokens of the row that are prompt.
    """
    batch, length = shape
    start, stop, _ = slice(*span).indices(prompt_length)
    return [Extent(length, 0, [(start, stop)] if stop > start else [])] * batch


def arrange(
    extents: Sequence[Extent],
    pictures: Sequence[Sequence[Picture]],
    visual: Tensor,
    prompt_length: int,
) -> tuple[SampleLayout, ...]:
    """Layout of every row.

    Parameters
    ----------
    extents
        From `locate`.
    pictures
        Of every row, in order: together they have its visual tokens.
    visual
        ``[batch, tokens]`` bool: its size and its device are looked at.
    prompt_length
        Leading tokens of the row, padding included, that are prompt.

    Raises
    ------
    ValueError
        If a row is not left-padded, or no text token follows its last image.
    """
    samples, length, device = [], visual.shape[1], visual.device
    for row, (extent, shown) in enumerate(zip(extents, pictures, strict=True)):
        if extent.start + extent.tokens != length:
            raise ValueError(
                f"sample {row} is not padded on the left only; set tokenizer.padding_side='left'"
            )
        images, end, left = [], extent.start, iter(shown)
        for place, stop in extent.runs:
            while place < stop:  # images side by side are one run
                one = next(left)
                images.append(ImageLayout(place - end, one.tokens, place, one, device))
                place = end = place + one.tokens
        if images and prompt_length <= end:
            raise ValueError(
                f"sample {row} has no text after the image, so the question is empty; write the "
                "question after the image"
            )
        text = length - end
        prompt_text = prompt_length - end if images else text
        samples.append(
            SampleLayout(tuple(images), text, prompt_text, extent.start, device, rows=row)
        )
    return tuple(samples)
