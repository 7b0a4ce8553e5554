"""LLaVA, and plain Llama-like language models whose visual tokens are pointed out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparsevlm.core.schedule import plain
from sparsevlm.models.tower import ClipModel, TowerView, tower_of
from sparsevlm.models.vision import check_equal, number_of
from sparsevlm.runtime.adapter import Adapter, Grid


class Llava(ClipModel):
    """Any `LlavaForConditionalGeneration`: visual tokens are the image placeholders."""

    towers = ("vision_tower",)
    keys: ClassVar = {"image": ("pixel_values",)}
    clip_towers: ClassVar = {"image": "vision_tower"}

    def tower(self, arguments: dict, visual: Tensor, row: int) -> TowerView:
        """What the vision tower made of this row's image.

        Parameters
        ----------
        arguments, visual, row
            See `Adapter.tower`.
        """
        states = self.states.of(self.base.vision_tower, arguments, "image")
        number = number_of(visual.any(dim=1).tolist(), row, len(states.after), "image")
        has_cls = self.config.vision_feature_select_strategy == "full"
        project = self.base.multi_modal_projector
        return tower_of(states, slice(number, number + 1), project, has_cls=has_cls)

    def grids(self, arguments: dict, counts: Sequence[int]) -> list[Grid | None]:
        """Patches of the vision tower, or a square where that fits."""
        self.check_number(arguments, list(map(bool, counts)), "image")
        vision = self.config.vision_config
        if vision.model_type != "pixtral":  # which takes images of any size
            check_equal(counts, "image")
        side = vision.image_size // vision.patch_size
        return [(side, side) if side * side == count else square(count) for count in counts]

    def pixels(self, arguments: dict, visual: Tensor, row: int) -> Tensor | None:
        """Pixels of this row's image, also where `generate` encoded it ahead of the model.

        Parameters
        ----------
        arguments, visual, row
            See `Adapter.pixels`.
        """
        seen = self.notes.find(arguments, "image")
        pixels = arguments.get("pixel_values") if seen is None else seen.pixels
        rows = visual.any(dim=1).tolist()
        if pixels is None or not rows[row]:
            return None
        return pixels[number_of(rows, row, len(pixels), "image")]


class LanguageModel(Adapter):
    """A plain `LlamaForCausalLM` whose visual tokens are given as a mask or span."""

    told = True
    tower_lack = "no vision tower of its own"

    def __init__(self, model: Any, visual_mask: Tensor | tuple[int, int] | None = None) -> None:
        if visual_mask is None:
            raise ValueError(
                f"a {type(model).__name__} has no image placeholder; give visual_mask, a bool "
                "tensor [batch, tokens] or the pair (start, stop)"
            )
        span = isinstance(visual_mask, tuple | list) and len(visual_mask) == 2
        self.given: Any = tuple(map(plain, visual_mask)) if span else visual_mask
        tensor = isinstance(visual_mask, Tensor) and visual_mask.ndim == 2
        if not tensor and not (span and all(type(place) is int for place in self.given)):
            raise ValueError(
                "visual_mask must be a bool tensor [batch, tokens] or the pair (start, stop) of "
                f"integers, got {visual_mask!r}"
            )
        self.base = self.decoder = model.model

    def visual_mask(self, arguments: dict) -> Tensor:
        """The given mask, as long as the input.

        Raises
        ------
        ValueError
            If it does not fit the input.
        """
        source = arguments.get("inputs_embeds")
        source = arguments["input_ids"] if source is None else source
        batch, length = source.shape[:2]
        mask = torch.zeros(batch, length, dtype=torch.bool, device=source.device)
        if isinstance(self.given, tuple):
            if min(self.given) < -length or not range(length)[slice(*self.given)]:
                raise ValueError(f"visual_mask {self.given} is no span of {length} tokens")
            mask[:, slice(*self.given)].fill_(True)
            return mask
        rows, columns = self.given.shape
        if rows not in (1, batch) or columns > length:
            raise ValueError(
                f"visual_mask {tuple(self.given.shape)} does not fit an input of {batch} x {length}"
            )
        mask[:, :columns] = self.given.to(mask)
        return mask

    def grids(self, arguments: dict, counts: Sequence[int]) -> list[Grid | None]:
        """A square, where that fits."""
        return [square(count) for count in counts]


def square(num_visual: int) -> Grid | None:
    """(side, side) of a square number of tokens, else None."""
    if not num_visual:
        return None
    side = math.isqrt(num_visual)
    return (side, side) if side * side == num_visual else None
