"""What the vision towers were given, also where `generate` calls them before the model.

`generate` encodes images and videos first and hands the model ``mm_encoder_outputs`` in place of
pixels and grids. A hook on each tower keeps what went in, beside the output that it became.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparsevlm.runtime.adapter import Adapter

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

    @property
    def alive(self) -> bool:
        """Whether an output is still in use: by a `generate`, whose drafts come without it."""
        return any(known() is not None for known, _ in self.notes)

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


def placeholders(
    arguments: dict, kinds: Sequence[tuple[str, int, Sequence[str]]], notes: TowerNotes
) -> Tensor:
    """Where the placeholders of images and videos stand, ``[batch, tokens]`` bool.

    Parameters
    ----------
    arguments
        Of ``base``.
    kinds
        Of images, and of videos: the word for it, the placeholder's id, and the arguments that have
        one entry for each.
    notes
        Of the model's towers.

    Raises
    ------
    ValueError
        Without ``input_ids``, for more images (or videos) than samples, for placeholders without an
        image (or video), and for a sample with placeholders of both kinds.
    """
    ids = arguments.get("input_ids")
    if ids is None:
        raise ValueError(
            "prune() finds the visual tokens by their placeholder, so it needs input_ids; "
            "inputs_embeds alone do not show them"
        )
    given = [
        sum(len(arguments[key]) for key in keys if arguments.get(key) is not None)
        for _, _, keys in kinds
    ]
    if sum(given) > len(ids):
        words = " and ".join(f"{word}s" for word, _, _ in kinds)
        raise ValueError(
            f"{sum(given)} {words} for {len(ids)} samples: several {words} per sample are not "
            f"supported, give each {kinds[0][0]} its own sample"
        )
    encoded = arguments.get("mm_encoder_outputs") or {}
    masks = torch.stack([ids == token_id for _, token_id, _ in kinds])
    for (word, token_id, _), number, mask in zip(kinds, given, masks, strict=True):
        # The model itself compares numbers only where it is given something to compare with.
        known = number or notes.alive or encoded.get(word) is not None
        if not known and mask.any():
            row = int(mask.any(dim=1).nonzero()[0])
            raise ValueError(
                f"sample {row} has {int(mask[row].sum())} {word} placeholders (id {token_id}), but "
                f"no {word} was given: give its pixels, or take the placeholder out of the text"
            )
    if len(masks) > 1 and (both := masks.any(dim=2).all(dim=0)).any():
        raise ValueError(
            f"sample {int(both.nonzero()[0])} has an image and a video; several per sample are "
            "not supported, give each its own sample"
        )
    return masks.any(dim=0)


def check_equal(counts: Iterable[int], word: str) -> None:
    """Check that the images (or videos) of a batch, all of one size, have as many placeholders.

    The model compares the sum over the batch only.

    Raises
    ------
    ValueError
        If they have not.
    """
    found = sorted({count for count in counts if count})
    if len(found) > 1:
        raise ValueError(
            f"the samples of this batch have {' and '.join(map(str, found))} {word} placeholders, "
            f"but their {word}s give equally many tokens: one inside a text counts too, take it out"
        )


class VisionLanguageModel(Adapter):
    """An architecture with placeholders for its visual tokens, whose vision towers are watched.

    Attributes
    ----------
    towers
        Names in ``base`` of the towers that `generate` runs ahead of the model.
    keys
        "image" and "video", where the model takes them: the arguments that have one entry for each.
    """

    towers: ClassVar[tuple[str, ...]] = ()
    keys: ClassVar[dict[str, tuple[str, ...]]]

    def __init__(self, model: Any, visual_mask: Tensor | tuple[int, int] | None = None) -> None:
        if visual_mask is not None:
            raise ValueError(
                f"a {type(model).__name__} finds its visual tokens itself; leave visual_mask out"
            )
        self.config = model.config
        self.base, self.decoder = model.model, model.model.language_model
        self.notes = TowerNotes()

    def attach(self, hook: Callable) -> None:
        """Watch the vision towers, which `generate` runs ahead of the model."""
        for name in self.towers:
            self.notes.attach(getattr(self.base, name), hook)

    def visual_mask(self, arguments: dict) -> Tensor:
        """True at the placeholders of images and videos.

        Raises
        ------
        ValueError
            For a sample with an image and a video, or with several.
        """
        kinds = [(word, self.token(word), keys) for word, keys in self.keys.items()]
        return placeholders(arguments, kinds, self.notes)

    def check_number(self, arguments: dict, rows: list[bool], word: str) -> None:
        """Check that no row has several images (or videos), also where others have none.

        Parameters
        ----------
        arguments
            Of ``base``.
        rows, word
            See `number_of`.
        """
        encoded = (arguments.get("mm_encoder_outputs") or {}).get(word)
        if encoded is not None and word == "video":
            return  # these are frames, of all videos in one row
        given = map(arguments.get, self.keys[word]) if encoded is None else [encoded.pooler_output]
        number = next((len(one) for one in given if one is not None), 0)
        if number:
            number_of(rows, 0, number, word)

    def token(self, word: str) -> int:
        """Id of the placeholder of an "image" or a "video"."""
        return getattr(self.config, f"{word}_token_id")

    def rows_with(self, arguments: dict, word: str) -> list[bool]:
        """Whether a row has placeholders of an "image" or a "video"."""
        return (arguments["input_ids"] == self.token(word)).any(dim=1).tolist()
