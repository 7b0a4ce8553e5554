"""What a pruner sees at a stage; what few methods need is computed on demand."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

from sparsevlm.core.interface import PruningContext, Selection
from sparsevlm.runtime.adapter import Adapter, Grid, Picture, abilities
from sparsevlm.runtime.layout import ImageLayout, SampleLayout

Tables = tuple[Tensor, Tensor]


class LazyContext(PruningContext):
    """A `PruningContext` that slices its parts out of the batch when they are first looked at.

    Parameters
    ----------
    **known
        Fields of `PruningContext` by name, and what `context_of` slices the others out of.
    """

    _image: ImageLayout
    _columns: slice
    _hidden: Tensor
    _inputs: Callable[[], Tensor]
    _rotary: Callable[[], Tables]
    _first: Callable[[], slice]
    _words: Callable[[Tensor], Tensor]
    _first_words: Callable[[Tensor], Tensor]

    def __init__(self, **known: Any) -> None:
        # Read-only for methods.
        self.__dict__.update(known)

    @cached_property
    def source(self) -> Tensor:
        """See `PruningContext`."""
        return self._image.source

    @cached_property
    def text(self) -> Tensor:
        """See `PruningContext`."""
        return self._words(self._hidden)

    @cached_property
    def inputs_visual(self) -> Tensor:
        """See `PruningContext`."""
        return self._inputs()[..., self._first(), :]

    @cached_property
    def inputs_text(self) -> Tensor:
        """See `PruningContext`."""
        return self._first_words(self._inputs())

    @cached_property
    def rotary_visual(self) -> Tables:
        """See `PruningContext`."""
        cos, sin = self._rotary()
        return cos[..., self._columns, :], sin[..., self._columns, :]

    @cached_property
    def rotary_text(self) -> Tables:
        """See `PruningContext`."""
        cos, sin = self._rotary()
        return self._words(cos), self._words(sin)


def context_of(
    sample: SampleLayout,
    number: int,
    first: SampleLayout,
    hidden: Tensor,
    inputs: Callable[[], Tensor],
    *,
    rotary: Callable[[], Tables],
    whole_prompt: bool,
    **known: Any,
) -> PruningContext:
    """Context of an image of one sample, or of some with parts of equal sizes.

    Parameters
    ----------
    sample, number
        Layout of the sample, and which of its images is decided for.
    first
        The layout at the input of layer 0.
    hidden
        Its tokens, ``[*batch, tokens, hidden]`` without padding.
    inputs
        Function that returns them at the input of layer 0.
    rotary
        Function that returns cosines and sines of its current tokens.
    whole_prompt
        Whether text before the image counts; see `Pruner.text`.
    **known
        Further fields of `PruningContext`.
    """
    image, columns = sample.images[number], sample.columns(number)
    return LazyContext(
        visual=hidden[..., columns, :], num_visual=image.num_visual, grid=image.picture.grid,
        cache=image.cache, _image=image, _columns=columns, _hidden=hidden, _inputs=inputs,
        _rotary=rotary, _first=lambda: first.columns(number),
        _words=lambda tokens: sample.text_of(tokens, number, whole_prompt),
        _first_words=lambda tokens: first.text_of(tokens, number, whole_prompt), **known,
    )  # fmt: skip


def check_selection(image: ImageLayout, selection: Selection) -> None:
    """Check that a selection fits the image, or the images of some samples, it was made for.

    Raises
    ------
    ValueError
        If it keeps nothing, or more than there is, or is not made of indices.
    """
    keep, batch = selection.keep, image.batch
    if keep.ndim != 1 + len(batch) or keep.dtype != torch.int64 or keep.shape[:-1] != batch:
        several = f" for each of {batch[0]} samples" if batch else ""
        raise ValueError(
            f"Selection.keep must be a one-dimensional int64 tensor of indices{several}"
        )
    kept = keep.shape[-1]
    created = 0 if selection.vectors is None else selection.vectors.shape[-2]
    if not 1 <= kept + created or kept > image.visual:
        raise ValueError(
            f"Selection keeps {kept} and recycles into {created} of {image.visual} visual "
            "tokens; at least one must stay, and no more than there are"
        )
    if (selection.vectors is None) != (selection.groups is None):
        raise ValueError("Selection.groups and Selection.vectors come together or not at all")


def prompt_key(
    adapter: Adapter, arguments: dict, visual: Tensor, prompt_length: int
) -> Callable[[int, Picture, Tensor], int]:
    """Function of a row, a picture of it and its embeddings: a checksum of prompt and pixels.

    It identifies the prompt, whatever batch it comes in. Embeddings differ in the last
    bits between batches, so they count only where there are no ids.

    Parameters
    ----------
    adapter, arguments, visual
        Of the model, of the call, and `Adapter.visual_mask`.
    prompt_length
        Leading tokens of the row, padding included, that are prompt.
    """
    ids = arguments.get("input_ids")
    mask = arguments.get("attention_mask")
    arguments = without_cache(arguments)

    def key(row: int, picture: Picture, inputs: Tensor) -> int:
        if ids is None:
            return _checksum(inputs)
        chosen = ~visual[row] if mask is None else ~visual[row] & mask[row].bool()
        text = ids[row][chosen][: int(chosen[:prompt_length].sum())]
        value = _checksum(text)
        pixels = adapter.pixels(arguments, picture)
        if pixels is not None:
            value = crc32(value.to_bytes(4, "little"), _checksum(pixels))
        return value

    return key


class Looks:
    """What a call was given beside its tokens, for a method that asks.

    Parameters
    ----------
    adapter, arguments
        See `prompt_key`; none while a prefill is captured, whose graph is of the decoder alone.
    rows
        Of the call.
    questions
        See `sparsevlm.prune`.
    """

    def __init__(
        self, adapter: Any = None, arguments: Any = None, rows: int = 0, questions: Any = None
    ) -> None:
        self._adapter, self._rows = adapter, rows
        self._arguments, self._questions = without_cache(arguments or {}), questions

    def ask(self, what: str, picture: Picture) -> Any:
        """What the adapter says of a picture: its ``"tower"``, or its ``"views"``."""
        return getattr(self._known(), what)(self._arguments, picture)

    def question(self, row: int) -> str:
        """The question of a row; beam search repeats every row."""
        self._known()
        given, rows = self._questions, self._rows
        if isinstance(given, str) or not given or rows % len(given):
            raise ValueError(
                "this method reads the question's own words: give prune(model, pruner, "
                f"questions=[...]) one text for each of the {rows} samples, got {given!r}"
            )
        return given[row * len(given) // rows]

    def _known(self) -> Any:
        if self._adapter is None:
            raise ValueError(
                "capture() replays the decoder alone, and this method looks at vision tower, tiles "
                "or the question's text; leave the block of capture(), or use another method"
            )
        return self._adapter


class Sights:
    """What few methods look at, of one image of a sample at a stage; computed when asked for.

    Parameters
    ----------
    looks
        Of the call.
    sample, number
        Layout of the sample, and which of its images is decided for.
    decoder, segment
        Of the model, and its tokens' positions.
    found
        Function that returns queries and keys of the layer looked at.
    """

    def __init__(
        self, looks: Looks, sample: SampleLayout, number: int, decoder: Any, found: Callable,
        segment: Any,
    ) -> None:  # fmt: skip
        self._looks, self._sample, self._number = looks, sample, number
        self._decoder, self._found, self._segment = decoder, found, segment

    @property
    def before(self) -> int:
        """Tokens ahead of the visual ones, without padding."""
        return self._sample.columns(self._number).start

    def tower(self) -> Any:
        """See `Adapter.tower`."""
        return self._looks.ask("tower", self._sample.images[self._number].picture)

    def views(self) -> tuple[Tensor, list[Grid]]:
        """See `Adapter.views`."""
        return self._looks.ask("views", self._sample.images[self._number].picture)

    def question(self) -> str:
        """The text that `prune` was given."""
        return self._looks.question(self._sample.numbers[0])

    @cached_property
    def _keys(self) -> Tensor:
        """``[tokens, heads, head_dim]``, as if the first token had position 0.

        A call without position ids counts padding, which attention does not notice and the size
        of a key's parts does. A decoder that rotates in another way than Llama is left as it is.
        """
        start, row = self._segment.length - self._sample.tokens, self._sample.rows
        keys = self._found().key[row, :, start:].transpose(0, 1)
        if "gravity" not in abilities(self._decoder):
            return keys
        cos, sin = (table[:1] for table in self._segment.tables_of(row, start))
        first, second = keys.chunk(2, dim=-1)
        return keys * cos + torch.cat([second, -first], dim=-1) * sin

    @property
    def keys_visual(self) -> Tensor:
        """``[num_current, key_heads, head_dim]`` of the layer looked at, after RoPE."""
        return self._keys[self._sample.columns(self._number)]

    @property
    def keys_text(self) -> Tensor:
        """``[num_text, key_heads, head_dim]`` of the text after the image that may rate."""
        return torch.cat([self._keys[words] for words in self._sample.words(self._number)])

    def final_norm(self, hidden: Tensor) -> Tensor:
        """The decoder's last norm, of ``[tokens, hidden]``."""
        norm = getattr(self._decoder, "norm", None) or self._decoder.final_layernorm
        where = norm.weight.device
        return norm(hidden if where.type == "meta" else hidden.to(where)).to(hidden.device)


def without_cache(arguments: dict) -> dict:
    """The arguments of a call that a function of its prefill may keep.

    A cache knows its prefill, and that the function: with the cache among what the function knows,
    no cache would be free before the garbage collector comes.
    """
    return {name: one for name, one in arguments.items() if name != "past_key_values"}


def _checksum(tensor: Tensor) -> int:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return crc32(tensor.contiguous().numpy().tobytes())
