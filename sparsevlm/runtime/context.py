"""What a pruner sees at a stage; what few methods need is computed on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

from sparsevlm.core.interface import PruningContext, Selection
from sparsevlm.runtime.adapter import Adapter, abilities
from sparsevlm.runtime.layout import SampleLayout

Tables = tuple[Tensor, Tensor]


class LazyContext(PruningContext):
    """A `PruningContext` that slices its parts out of the batch when they are first looked at.

    Parameters
    ----------
    **known
        Fields of `PruningContext` by name, and what the others are sliced out of (see
        `context_of`): ``_sample``, ``_hidden``, ``_inputs``, ``_rotary``, ``_whole_prompt``.
    """

    _sample: SampleLayout
    _hidden: Tensor
    _inputs: Callable[[], Tensor]
    _rotary: Callable[[], Tables]
    _whole_prompt: bool

    def __init__(self, **known: Any) -> None:
        # Read-only for methods.
        self.__dict__.update(known)

    @cached_property
    def source(self) -> Tensor:
        """See `PruningContext`."""
        return self._sample.source

    @cached_property
    def text(self) -> Tensor:
        """See `PruningContext`."""
        return self._words(self._hidden, self._sample.visual)

    @cached_property
    def inputs_visual(self) -> Tensor:
        """See `PruningContext`."""
        sample = self._sample
        return self._inputs()[..., sample.before : sample.before + sample.num_visual, :]

    @cached_property
    def inputs_text(self) -> Tensor:
        """See `PruningContext`."""
        return self._words(self._inputs(), self._sample.num_visual)

    @cached_property
    def rotary_visual(self) -> Tables:
        """See `PruningContext`."""
        cos, sin = self._rotary()
        return cos[..., self._sample.columns, :], sin[..., self._sample.columns, :]

    @cached_property
    def rotary_text(self) -> Tables:
        """See `PruningContext`."""
        cos, sin = self._rotary()
        return self._words(cos, self._sample.visual), self._words(sin, self._sample.visual)

    def _words(self, tokens: Tensor, visual: int) -> Tensor:
        before, first = self._sample.before, self._sample.before + visual
        after = tokens[..., first : first + self._sample.prompt_text, :]
        return torch.cat([tokens[..., :before, :], after], -2) if self._whole_prompt else after


def context_of(
    sample: SampleLayout,
    hidden: Tensor,
    inputs: Callable[[], Tensor],
    *,
    rotary: Callable[[], Tables],
    rows: Callable[[slice, Tensor], Tensor],
    mean: Callable[[slice], Tensor],
    whole_prompt: bool,
    **known: Any,
) -> PruningContext:
    """Context of one sample, or of some with parts of equal sizes.

    Parameters
    ----------
    sample
        Its layout.
    hidden
        Its tokens, ``[*batch, tokens, hidden]`` without padding.
    inputs
        Function that returns them at the input of layer 0.
    rotary
        Function that returns cosines and sines of its current tokens.
    rows, mean
        Functions of the visual columns that return the attention of some text tokens to them, and
        of all tokens; see `PruningContext.attention_rows` and `PruningContext.attention_mean`.
    whole_prompt
        Whether text before the image counts; see `Pruner.text`.
    **known
        Further fields of `PruningContext`.
    """
    columns = sample.columns
    return LazyContext(
        visual=hidden[..., columns, :], num_visual=sample.num_visual, cache=sample.cache,
        attention_rows=lambda raters: rows(columns, raters), attention_mean=lambda: mean(columns),
        _sample=sample, _hidden=hidden, _inputs=inputs, _rotary=rotary, _whole_prompt=whole_prompt,
        **known,
    )  # fmt: skip


def check_selection(sample: SampleLayout, selection: Selection) -> None:
    """Check that a selection fits the sample, or the samples, it was made for.

    Raises
    ------
    ValueError
        If it keeps nothing, or more than there is, or is not made of indices.
    """
    keep, batch = selection.keep, sample.batch
    if keep.ndim != 1 + len(batch) or keep.dtype != torch.int64 or keep.shape[:-1] != batch:
        several = f" for each of {batch[0]} samples" if batch else ""
        raise ValueError(
            f"Selection.keep must be a one-dimensional int64 tensor of indices{several}"
        )
    kept = keep.shape[-1]
    created = 0 if selection.vectors is None else selection.vectors.shape[-2]
    if not 1 <= kept + created or kept > sample.visual:
        raise ValueError(
            f"Selection keeps {kept} and recycles into {created} of {sample.visual} visual "
            "tokens; at least one must stay, and no more than there are"
        )
    if (selection.vectors is None) != (selection.groups is None):
        raise ValueError("Selection.groups and Selection.vectors come together or not at all")


def prompt_key(
    adapter: Adapter, arguments: dict, visual: Tensor, prompt_length: int
) -> Callable[[int, Tensor], int]:
    """Function of a row and its embeddings: a checksum of the prompt's ids and pixels.

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

    def key(row: int, inputs: Tensor) -> int:
        if ids is None:
            return _checksum(inputs)
        chosen = ~visual[row] if mask is None else ~visual[row] & mask[row].bool()
        text = ids[row][chosen][: int(chosen[:prompt_length].sum())]
        value = _checksum(text)
        pixels = adapter.pixels(arguments, visual, row)
        if pixels is not None:
            value = crc32(value.to_bytes(4, "little"), _checksum(pixels))
        return value

    return key


class Looks:
    """What a call was given beside its tokens, for a method that asks.

    Parameters
    ----------
    adapter, arguments, visual
        See `prompt_key`; none while a prefill is captured, whose graph is of the decoder alone.
    questions
        See `sparsevlm.prune`.
    """

    def __init__(
        self, adapter: Any = None, arguments: dict | None = None, visual: Any = None,
        questions: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        self._adapter, self._visual = adapter, visual
        self._arguments, self._questions = without_cache(arguments or {}), questions

    def tower(self, row: int) -> Any:
        """What the vision tower made of the picture of a row."""
        return self._known().tower(self._arguments, self._visual, row)

    def question(self, row: int) -> str:
        """The question of a row; beam search repeats every row."""
        self._known()
        given, rows = self._questions, len(self._visual)
        if isinstance(given, str) or not given or rows % len(given):
            raise ValueError(
                "this method reads the question's own words: give prune(model, pruner, "
                f"questions=[...]) one text for each of the {rows} samples, got {given!r}"
            )
        return given[row * len(given) // rows]

    def _known(self) -> Any:
        if self._adapter is None:
            raise ValueError(
                "capture() replays the decoder alone, and this method looks at the vision tower or "
                "the question's text; leave the block of capture(), or use another method"
            )
        return self._adapter


class Sights:
    """What few methods look at, of one sample at a stage; computed when asked for.

    Parameters
    ----------
    looks, row
        Of the call, and which row the sample is.
    sample
        Its layout.
    decoder, segment
        Of the model, and its tokens' positions.
    found
        Function that returns queries and keys of the layer looked at.
    """

    def __init__(
        self, looks: Looks, row: int, sample: SampleLayout, decoder: Any, found: Callable,
        segment: Any,
    ) -> None:  # fmt: skip
        self._looks, self._row, self._sample, self._decoder = looks, row, sample, decoder
        self._found, self._segment = found, segment

    @property
    def before(self) -> int:
        """Tokens ahead of the visual ones, without padding."""
        return self._sample.before

    def tower(self) -> Any:
        """See `Adapter.tower`."""
        return self._looks.tower(self._row)

    def question(self) -> str:
        """The text that `prune` was given."""
        return self._looks.question(self._row)

    @cached_property
    def _keys(self) -> Tensor:
        """``[tokens, heads, head_dim]``, as if the first token had position 0.

        A call without position ids counts padding, which attention does not notice and the size
        of a key's parts does. A decoder that rotates in another way than Llama is left as it is.
        """
        start = self._segment.length - self._sample.tokens
        keys = self._found().key[self._row, :, start:].transpose(0, 1)
        if "gravity" not in abilities(self._decoder):
            return keys
        cos, sin = (table[:1] for table in self._segment.tables_of(self._row, start))
        first, second = keys.chunk(2, dim=-1)
        return keys * cos + torch.cat([second, -first], dim=-1) * sin

    @property
    def keys_visual(self) -> Tensor:
        """``[num_current, key_heads, head_dim]`` of the layer looked at, after RoPE."""
        return self._keys[self._sample.columns]

    @property
    def keys_text(self) -> Tensor:
        """``[num_text, key_heads, head_dim]`` of the text after the image."""
        first = self._sample.columns.stop
        return self._keys[first : first + self._sample.prompt_text]

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
