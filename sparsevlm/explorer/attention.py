"""Attention of the raters to the visual tokens, by layer and head, small enough for a file."""

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
# A file holds at most this many values; beyond it the mean over heads only.
MAX_VALUES = 400_000
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
        uint8 ``[heads, raters, columns]``, see `encode`.
    """

    layer: int
    source: tuple[int, ...]
    codes: Annotated[np.ndarray, PlainValidator(_from_file), PlainSerializer(_to_file)]


@dataclass(frozen=True)
class RaterAttention:
    """Softmax attention of the rating words to the visual tokens.

    Attributes
    ----------
    words
        Positions in the text after the image: one per row.
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
    def of(cls, recording: Recording, raters: Sequence[int]) -> RaterAttention:
        """Take the rows of some words from what was recorded.

        Parameters
        ----------
        recording
            Of every layer.
        raters
            Positions in the text; without any, the last word, from which the answer is read.
        """
        num_text = len(recording.relevance)
        words = tuple(raters) or (num_text - 1,)
        others = [index for index in range(num_text) if index not in words] or list(words)
        layers, sinks = [], []
        for stage in recording.stages:
            ids, codes = stage.source.tolist(), encode(stage.rows[:, list(words)])
            layers.append(LayerRows(stage.attention_layer, tuple(ids), codes))
            mean = stage.rows[:, others].mean((0, 1))
            is_sink = mean > SINK_FACTOR * mean.mean()
            sinks.append(tuple(stage.source[is_sink].tolist()))
        return cls(words, tuple(layers), tuple(sinks), single_heads=True)

    @property
    def num_heads(self) -> int:
        """Heads that can be shown one by one; 0 where only the mean is known."""
        return self.layers[0].codes.shape[0] if self.single_heads and self.layers else 0

    def index_of(self, layer: int) -> int | None:
        """Place of a layer in `layers`; ``None`` for one that was not recorded."""
        return next((i for i, rows in enumerate(self.layers) if rows.layer == layer), None)

    def values(self, layer: int, head: int | None = None, word: int | None = None) -> dict:
        """Attention of a layer to every token that is there, ``{id: value}``.

        Parameters
        ----------
        layer
            A recorded layer; others give an empty dictionary.
        head
            One head, or ``None``: the mean over heads.
        word
            One of `words`, or ``None``: the mean over the raters.

        Raises
        ------
        ValueError
            For a head or word without recorded rows.
        """
        index = self.index_of(layer)
        if index is None:
            return {}
        if head is not None and not 0 <= head < self.num_heads:
            raise ValueError(f"head {head} was not recorded; heads: {self.num_heads}, or the mean")
        if word is not None and word not in self.words:
            raise ValueError(f"word {word} did not rate; rows were recorded for {self.words}")
        rows = decode(self.layers[index].codes)
        by_word = rows.mean(0) if head is None else rows[head]
        chosen = by_word.mean(0) if word is None else by_word[self.words.index(word)]
        return dict(zip(self.layers[index].source, chosen.tolist(), strict=True))

    def for_file(self) -> RaterAttention:
        """The same, reduced to the mean over heads where single heads would be too large."""
        size = sum(rows.codes.size for rows in self.layers)
        if size <= MAX_VALUES or not self.single_heads:
            return self
        means = tuple(
            replace(rows, codes=encode(decode(rows.codes).mean(0, keepdims=True)))
            for rows in self.layers
        )
        return replace(self, layers=means, single_heads=False)
