"""What the vision towers were given, also where `generate` calls them before the model.

`generate` encodes images and videos first and hands the model ``mm_encoder_outputs`` in place of
pixels and grids. A hook on each tower keeps what went in, beside the output that it became.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

KEPT = 2  # a call to the model comes with at most two outputs, one of images and one of videos


@dataclass(frozen=True)
class Seen:
    """What one modality of a batch looked like on its way into the tower.

    Attributes
    ----------
    pixels
        First argument of the tower.
    grid_thw
        ``[number, 3]`` frames, rows and columns of patches; ``None`` for towers without it.
    """

    pixels: Tensor
    grid_thw: Tensor | None


class TowerNotes:
    """The last inputs of the vision towers of one model."""

    def __init__(self) -> None:
        self.notes: list[tuple[weakref.ref, Seen]] = []

    def attach(self, tower: nn.Module, hook: Callable) -> None:
        """Watch a tower; ``hook(register, function)`` is undone at the end of the session."""
        hook(tower.register_forward_hook, self._note)

    def _note(self, module: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
        pixels: Any = args[0] if args else kwargs.get("pixel_values", kwargs.get("hidden_states"))
        grid_thw = args[1] if len(args) > 1 else kwargs.get("grid_thw")
        known = [note for note in self.notes if note[0]() is not None]
        self.notes = [*known, (weakref.ref(output), Seen(pixels, grid_thw))][-KEPT:]

    def find(self, arguments: dict, modality: str) -> Seen | None:
        """What became the encoder output of ``"image"`` or ``"video"`` in these arguments."""
        output = (arguments.get("mm_encoder_outputs") or {}).get(modality)
        if output is None:
            return None
        return next((seen for known, seen in self.notes if known() is output), None)


def number_of(rows: list[bool], row: int, number: int, word: str) -> int:
    """Which of ``number`` images (or videos) belongs to a row.

    Parameters
    ----------
    rows
        For every row of the batch whether it has one.
    row
        The row asked for.
    number
        Images that the tower saw. Beam search repeats every row after that.
    word
        ``"image"`` or ``"video"``, for the error.

    Raises
    ------
    ValueError
        If there are more images than rows that have one, or they cannot be shared out evenly.
    """
    having = sum(rows)
    if number > having or having % max(number, 1):
        raise ValueError(
            f"{number} {word}s for {having} samples with {word} placeholders: several {word}s per "
            f"sample are not supported, give each {word} its own sample"
        )
    return sum(rows[:row]) // (having // number)
