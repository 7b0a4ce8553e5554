"""What the vision towers were given, also where `generate` calls them before the model.

`generate` encodes images and videos first and hands the model ``mm_encoder_outputs`` in place of
pixels and grids. A hook on each tower keeps what went in, beside the output that it became.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparsevlm.runtime.adapter import Adapter, Grid, Picture

# The arguments with one entry for each; older releases of transformers have another name for one.
PIXELS = {"image": ("pixel_values", "pixel_values_images"), "video": ("pixel_values_videos",)}
SIZES = {"image": ("image_grid_thw", "image_sizes"), "video": ("video_grid_thw",)}
KEPT = 2  # a call to the model comes with at most two outputs, one of images and one of videos


@dataclass(frozen=True)
class Seen:
    """What one modality of a batch looked like on its way into the tower.

    Attributes
    ----------
    pixels
        First argument of the tower.
    sizes
        ``[number, 3]`` frames, rows and columns of patches, or ``[number, 2]`` height and width in
        pixels; ``None`` for towers without it.
    """

    pixels: Tensor
    sizes: Tensor | None


class TowerNotes:
    """The last inputs of the vision towers of one model."""

    def __init__(self) -> None:
        self.notes: list[tuple[weakref.ref, Seen]] = []

    def attach(self, tower: nn.Module, hook: Callable) -> None:
        """Watch a tower; ``hook(register, function)`` is undone at the end of the session."""
        hook(tower.register_forward_hook, self._note)

    def _note(self, module: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
        pixels: Any = args[0] if args else kwargs.get("pixel_values", kwargs.get("hidden_states"))
        sizes = args[1] if len(args) > 1 else kwargs.get("grid_thw", kwargs.get("image_sizes"))
        known = [note for note in self.notes if note[0]() is not None]
        self.notes = [*known, (weakref.ref(output), Seen(pixels, sizes))][-KEPT:]

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


def share_out(
    runs: Sequence[Sequence[int]], given: Sequence[tuple[int, Grid | None]], word: str
) -> list[list[Picture]]:
    """Which images (or videos) a row shows.

    Parameters
    ----------
    runs
        See `Adapter.pictures`. Beam search repeats every row after the tower saw the images.
    given
        Tokens and grid of every image that the tower saw; none where that is not known, and then
        each run is one.
    word
        ``"image"`` or ``"video"``.

    Raises
    ------
    ValueError
        If the placeholders of a row are not those of the next images.
    """
    if not given:
        return [[Picture(length, None, word) for length in row] for row in runs]
    pictures = [Picture(*one, word, number) for number, one in enumerate(given)]
    repeats, rest = divmod(sum(map(sum, runs)), max(1, sum(one.tokens for one in pictures)))
    repeats = repeats if repeats and not rest and len(runs) % repeats == 0 else 1
    found: list[list[Picture]] = []
    left = iter(pictures)
    for row, lengths in enumerate(runs):
        shown: list[Picture] = []
        if row % repeats and lengths == runs[row - 1]:
            shown, lengths = found[-1], ()
        for length in lengths:
            while length > 0 and (one := next(left, None)) is not None:
                shown.append(one)
                length -= one.tokens
            if length:
                sizes = ", ".join(str(one.tokens) for one in shown) or "no more"
                raise ValueError(
                    f"sample {row} has {' + '.join(map(str, lengths))} {word} placeholders, but "
                    f"its {word}s give {sizes} visual tokens: repeat the placeholder as often as "
                    f"its {word} has tokens; one inside a text counts too, take it out"
                )
        found.append(shown)
    if (rest := sum(1 for _ in left)) > 0:
        raise ValueError(
            f"{len(pictures)} {word}s were given, and the samples have placeholders for "
            f"{len(pictures) - rest}: write the others, or leave the {word}s out"
        )
    return found


class VisionLanguageModel(Adapter):
    """An architecture with placeholders for its visual tokens, whose vision towers are watched.

    Attributes
    ----------
    towers
        Names in ``base`` of the towers that `generate` runs ahead of the model.
    words
        "image" and "video", where the model takes them.
    single
        Of which a sample may have one only.
    """

    towers: ClassVar[tuple[str, ...]] = ()
    words: ClassVar[tuple[str, ...]] = ("image",)
    single: ClassVar[tuple[str, ...]] = ()

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
            Without ``input_ids``, for placeholders without an image (or video), and for a sample
            with placeholders of both kinds.
        """
        ids = arguments.get("input_ids")
        if ids is None:
            raise ValueError(
                "prune() finds the visual tokens by their placeholder, so it needs input_ids; "
                "inputs_embeds alone do not show them"
            )
        masks = torch.stack([ids == self.token(word) for word in self.words])
        for word, mask in zip(self.words, masks, strict=True):
            # The model itself compares numbers only where it is given something to compare with.
            given = self.seen(arguments, word)[0] is not None or len(self.made(arguments, word))
            if not given and not self.notes.alive and mask.any():
                row = int(mask.any(dim=1).nonzero()[0])
                raise ValueError(
                    f"sample {row} has {int(mask[row].sum())} {word} placeholders (id "
                    f"{self.token(word)}), but no {word} was given: give its pixels, or take the "
                    "placeholder out of the text"
                )
        if len(masks) > 1 and (both := masks.any(dim=2).all(dim=0)).any():
            raise ValueError(
                f"sample {int(both.nonzero()[0])} has an image and a video, which together are "
                "not supported; give each its own sample"
            )
        return masks.any(dim=0)

    def pictures(self, arguments: dict, runs: Sequence[Sequence[int]]) -> list[list[Picture]]:
        """Images and videos of every row, as many as their placeholders are for.

        Parameters
        ----------
        arguments, runs
            See `Adapter.pictures`.

        Raises
        ------
        ValueError
            If they do not fit the placeholders, or a sample has several where it may have one.
        """
        found: list[list[Picture]] = [[] for _ in runs]
        for word in self.words:
            mine = runs
            if len(self.words) > 1:
                has = (arguments["input_ids"] == self.token(word)).any(dim=1).tolist()
                mine = [row if own else [] for row, own in zip(runs, has, strict=True)]
            given = self.given(arguments, word, [length for row in mine for length in row])
            for row, shown in enumerate(share_out(mine, given, word)):
                if word in self.single and len(shown) > 1:
                    raise ValueError(
                        f"sample {row} has {len(shown)} {word}s, and this {type(self).__name__} "
                        f"takes one: give each {word} its own sample"
                    )
                found[row] += shown
        return found

    def given(
        self, arguments: dict, word: str, lengths: Sequence[int]
    ) -> list[tuple[int, Grid | None]]:
        """Tokens and grid of every image (or video) that the tower saw; here all have as many.

        Parameters
        ----------
        arguments, word
            Of ``base``, and ``"image"`` or ``"video"``.
        lengths
            Of the runs of its placeholders in all rows.
        """
        pixels, made = self.seen(arguments, word)[0], self.made(arguments, word)
        number = len(made if pixels is None else pixels)
        each = len(made[0]) if len(made) else sum(lengths) // max(number, 1)
        if not each or any(length % each for length in lengths):
            each = max(lengths, default=0)  # `share_out` says what is wrong
        return [(each, self.grid(each))] * number

    def grid(self, tokens: int) -> Grid | None:
        """Shape of the tokens of an image: the patches of its tower, where as many."""
        side = self.config.vision_config.image_size // self.config.vision_config.patch_size
        return (side, side) if side * side == tokens else square(tokens)

    def pixels(self, arguments: dict, picture: Picture) -> Tensor | None:
        """Pixels of a picture, also where `generate` encoded it ahead of the model.

        Parameters
        ----------
        arguments, picture
            See `Adapter.pixels`.
        """
        pixels = self.seen(arguments, picture.word)[0]
        return None if pixels is None or picture.number is None else pixels[picture.number]

    def seen(self, arguments: dict, word: str) -> tuple[Tensor | None, Tensor | None]:
        """Pixels of all images (or videos) of a call, and their sizes, where there are any.

        Parameters
        ----------
        arguments, word
            See `given`.
        """
        found = self.notes.find(arguments, word)
        if found is not None:
            return found.pixels, found.sizes
        pixels, sizes = (
            [arguments[name] for name in names[word] if arguments.get(name) is not None]
            for names in (PIXELS, SIZES)
        )
        return next(iter(pixels), None), next(iter(sizes), None)

    def made(self, arguments: dict, word: str) -> Sequence[Tensor]:
        """``[tokens, hidden]`` of every image, where `generate` encoded them ahead of the model."""
        found = (arguments.get("mm_encoder_outputs") or {}).get(word)
        return () if found is None else found.pooler_output

    def token(self, word: str) -> int:
        """Id of the placeholder of an "image" or a "video"."""
        return getattr(self.config, f"{word}_token_id")


def square(num_visual: int) -> Grid | None:
    """(side, side) of a square number of tokens, else None."""
    side = math.isqrt(num_visual)
    return (side, side) if num_visual and side * side == num_visual else None
