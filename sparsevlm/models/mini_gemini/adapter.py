"""What pruning needs to know about Mini-Gemini."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import Tensor

from sparsevlm.models.tower import ClipModel, TowerView, tower_of
from sparsevlm.models.vision import check_equal, number_of
from sparsevlm.runtime.adapter import Grid


class MiniGemini(ClipModel):
    """`MiniGeminiForConditionalGeneration`: behind the projector it is LLaVA."""

    keys: ClassVar = {"image": ("pixel_values",)}
    clip_towers: ClassVar = {"image": "vision_tower"}
    mined: Tensor | None = None

    def attach_tower(self, hook: Callable) -> None:
        """Watch the layer of CLIP that is mined, and what the projector is given."""
        super().attach_tower(hook)
        hook(self.base.projector.register_forward_pre_hook, self._note_mined)

    def _note_mined(self, module: object, args: tuple, kwargs: dict) -> None:
        self.mined = args[0]

    def tower(self, arguments: dict, visual: Tensor, row: int) -> TowerView:
        """What CLIP made of this row's image: of an HD image the whole, then its crops.

        Parameters
        ----------
        arguments, visual, row
            See `Adapter.tower`.
        """
        assert self.mined is not None, "the projector was watched"
        states = self.states.of(self.base.vision_tower, arguments, "image")
        views = self.config.num_views
        images = len(states.after) // views
        number = number_of(visual.any(dim=1).tolist(), row, images, "image")
        order = [number * views + view for view in range(views)]
        if self.config.image_global:
            order = [order[-1], *order[:-1]]
        return tower_of(states, order, self._project, features=self.mined[number])

    def _project(self, features: Tensor) -> Tensor:
        # Not by a call, which would be noted.
        return self.base.scaled(self.base.projector.forward(features))

    def grids(self, arguments: dict, counts: Sequence[int]) -> list[Grid | None]:
        """(rows, columns); of an HD image (views, rows, columns): the whole, then its crops."""
        check_equal(counts, "image")
        self.check_number(arguments, list(map(bool, counts)), "image")
        vision, views = self.config.vision_config, self.config.num_views
        side = vision.image_size // vision.patch_size
        grid = (side, side) if views == 1 else (views, side, side)
        return [grid if count == views * side * side else None for count in counts]
