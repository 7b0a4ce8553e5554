"""LLaVA, and plain Llama-like language models whose visual tokens are pointed out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparsevlm.core.schedule import plain
from sparsevlm.models.tower import ClipModel, TowerView, tower_of
from sparsevlm.models.vision import square
from sparsevlm.runtime.adapter import Adapter, Grid, Picture


class Llava(ClipModel):
    """Any `LlavaForConditionalGeneration`: visual tokens are the image placeholders."""

    towers = ("vision_tower",)
    clip_towers: ClassVar = {"image": "vision_tower"}

    def tower(self, arguments: dict, picture: Picture) -> TowerView:
        """What the vision tower made of an image.

        Parameters
        ----------
        arguments, picture
            See `Adapter.tower`.
        """
        states = self.states.of(self.base.vision_tower, arguments, "image")
        has_cls = self.config.vision_feature_select_strategy == "full"
        project, number = self.base.multi_modal_projector, picture.number
        return tower_of(states, slice(number, number + 1), project, has_cls=has_cls)

    def given(
        self, arguments: dict, word: str, lengths: Sequence[int]
    ) -> list[tuple[int, Grid | None]]:
        """Tokens and grid of every image; a Pixtral takes images of any size.

        Parameters
        ----------
        arguments, word, lengths
            See `VisionLanguageModel.given`.
        """
        vision, sizes = self.config.vision_config, self.seen(arguments, word)[1]
        if vision.model_type != "pixtral" or sizes is None:
            return super().given(arguments, word, lengths)
        sizes = torch.as_tensor(sizes) // vision.patch_size
        return [(rows * columns, (rows, columns)) for rows, columns in sizes.tolist()]


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

    def pictures(self, arguments: dict, runs: Sequence[Sequence[int]]) -> list[list[Picture]]:
        """Each run is an image; a square, where that fits."""
        return [[Picture(length, square(length)) for length in row] for row in runs]
