"""Attention of the words to the visual tokens, by layer and head, small enough for a file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import PlainSerializer, PlainValidator

if TYPE_CHECKING:
    from sparsevlm.evaluation.recording import Recording

# One byte per value: logarithmic from 1e-6 to 1, steps of 5.6 %.
DECADES = 6
# A file holds at most this many values of all its answers together; see `WordAttention.for_file`.
MAX_VALUES = 100_000
# A token is a sink where words that do not rate attend to it this many times the mean.
SINK_FACTOR = 10.0


def encode(values: np.ndarray) -> np.ndarray:
    """Attention in [0, 1] as one byte each; 0 stands for 1e-6 and less."""
    logarithm = np.log10(np.clip(values, 10.0**-DECADES, 1.0))
    return np.rint((logarithm + DECADES) * 255 / DECADES).astype(np.uint8)


def decode(codes: np.ndarray) -> np.ndarray:
    """The inverse of `encode`, float64, to 3 %."""
    return 10.0 ** (codes.astype(float) * DECADES / 255 - DECADES)


def _to_file(codes: np.ndarray) -> dict:
    return {"shape": codes.shape, "data": base64.b64encode(codes.tobytes()).decode()}


def _from_file(row: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(row["data"]), np.uint8).reshape(row["shape"])


@dataclass(frozen=True)
class LayerRows:
    """The rows of one layer.

    Attributes
    ----------
    layer
        0-based decoder layer.
    source
        Whose the columns are: original visual tokens, or ``num_visual + j`` for recycled ones.
    codes
        uint8 ``[heads, words, columns]``, see `encode`.
    """

    layer: int
    source: tuple[int, ...]
    codes: Annotated[np.ndarray, PlainValidator(_from_file), PlainSerializer(_to_file)]


@dataclass(frozen=True)
class WordAttention:
    """Softmax attention of words of the question to the visual tokens.

    Attributes
    ----------
    words
        Positions in the text after the image: one per row. All of them, or in a file the raters.
    layers
        In order. The last layer of a model is missing where attention is read from the layer just
        run, because nothing can be pruned after it.
    sinks
        Per layer, the original tokens that the words which do not rate attend to more than ten
        times the mean.
    single_heads
        Whether `LayerRows.codes` has one row per head, or the mean over heads alone.
    """

    words: tuple[int, ...]
    layers: tuple[LayerRows, ...]
    sinks: tuple[tuple[int, ...], ...]
    single_heads: bool

    @classmethod
    def of(cls, recording: Recording, raters: Sequence[int]) -> WordAttention:
        """Take the rows of all words from what was recorded of every layer.

        Sinks are found by the words that do not rate, for the raters see none.
        """
        every = tuple(range(len(recording.relevance)))
        words = tuple(raters) or every[-1:]
        others = [index for index in every if index not in words] or list(words)
        layers, sinks = [], []
        for stage in recording.stages:
            ids, codes = stage.source.tolist(), encode(stage.rows)
            layers.append(LayerRows(stage.attention_layer, tuple(ids), codes))
            mean = stage.rows[:, others].mean((0, 1))
            is_sink = mean > SINK_FACTOR * mean.mean()
            sinks.append(tuple(stage.source[is_sink].tolist()))
        return cls(every, tuple(layers), tuple(sinks), single_heads=True)

    @property
    def num_heads(self) -> int:
        """Heads that can be shown one by one; 0 where only the mean is known."""
        return self.layers[0].codes.shape[0] if self.single_heads and self.layers else 0

    def is_whole(self, num_words: int) -> bool:
        """Whether it has the rows of this many words, which are all, and of every head."""
        return self.single_heads and len(self.words) == num_words

    def values(self, layer: int, head: int | None, words: Sequence[int]) -> dict[int, float]:
        """Attention of a layer to every token that is there, ``{id: value}``, mean over some words.

        It is that of one head, or for ``None`` the mean over heads. A layer that was not recorded
        gives an empty dictionary.

        Raises
        ------
        ValueError
            For a head or word without recorded rows.
        """
        recorded = next((rows for rows in self.layers if rows.layer == layer), None)
        if recorded is None:
            return {}
        if head is not None and not 0 <= head < self.num_heads:
            raise ValueError(f"head {head} was not recorded; heads: {self.num_heads}, or the mean")
        lacking = sorted(set(words) - set(self.words))
        if lacking or not words:
            raise ValueError(f"no rows of words {lacking} were recorded; there are {self.words}")
        rows = recorded.codes[:, [self.words.index(word) for word in words]]
        chosen = decode(rows if head is None else rows[[head]]).mean((0, 1))
        return dict(zip(recorded.source, chosen.tolist(), strict=True))

    def for_file(self, raters: Sequence[int], most: int = MAX_VALUES) -> WordAttention:
        """The same, or as much of it as fits into ``most`` values.

        First single heads are given up for their mean, then the words that do not rate (the last
        word stays where none does), then both.
        """
        some = tuple(word for word in raters if word in self.words) or self.words[-1:]
        for words, single in ((self.words, True), (self.words, False), (some, True)):
            found = self._reduced(words, single)
            if sum(rows.codes.size for rows in found.layers) <= most:
                return found
        return self._reduced(some, single_heads=False)

    def _reduced(self, words: tuple[int, ...], single_heads: bool) -> WordAttention:
        rows = [self.words.index(word) for word in words]

        def codes(all_codes: np.ndarray) -> np.ndarray:
            chosen = all_codes[:, rows]
            if single_heads or not self.single_heads:
                return chosen
            return encode(decode(chosen).mean(0, keepdims=True))

        layers = tuple(replace(layer, codes=codes(layer.codes)) for layer in self.layers)
        return replace(
            self, words=words, layers=layers, single_heads=single_heads and self.single_heads
        )
