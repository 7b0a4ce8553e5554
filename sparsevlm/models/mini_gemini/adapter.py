"""What pruning needs to know about Mini-Gemini."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from sparsevlm.models.tower import ClipModel, TowerView, tower_of
from sparsevlm.runtime.adapter import Grid, Picture


class MiniGemini(ClipModel):
    """`MiniGeminiForConditionalGeneration`: behind the projector it is LLaVA."""

    clip_towers: ClassVar = {"image": "vision_tower"}
    single = ("image",)
    mined: Tensor | None = None

    def attach_tower(self, hook: Callable) -> None:
        """Watch the layer of CLIP that is mined, and what the projector is given."""
        super().attach_tower(hook)
        hook(self.base.projector.register_forward_pre_hook, self._note_mined)

    def _note_mined(self, module: object, args: tuple, kwargs: dict) -> None:
        self.mined = args[0]

    def tower(self, arguments: dict, picture: Picture) -> TowerView:
        """What CLIP made of an image: of an HD image the whole, then its crops.

        Parameters
        ----------
        arguments, picture
            See `Adapter.tower`.
        """
        assert self.mined is not None, "the projector was watched"
        states = self.states.of(self.base.vision_tower, arguments, "image")
        views, number = self.config.num_views, picture.number
        order = [number * views + view for view in range(views)]
        if self.config.image_global:
            order = [order[-1], *order[:-1]]
        return tower_of(states, order, self._project, features=self.mined[number])

    def _project(self, features: Tensor) -> Tensor:
        # Not by a call, which would be noted.
        return self.base.scaled(self.base.projector.forward(features))

    def grid(self, tokens: int) -> Grid | None:
        """(rows, columns); of an HD image (views, rows, columns): the whole, then its crops."""
        vision, views = self.config.vision_config, self.config.num_views
        side = vision.image_size // vision.patch_size
        grid = (side, side) if views == 1 else (views, side, side)
        return grid if tokens == views * side * side else None
