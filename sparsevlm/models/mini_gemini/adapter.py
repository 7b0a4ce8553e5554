"""What pruning needs to know about Mini-Gemini."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from sparsevlm.models.tower import TowerStates, TowerView, tower_lack, tower_of
from sparsevlm.models.vision import TowerNotes, check_equal, number_of, placeholders
from sparsevlm.runtime.adapter import Adapter, Grid


class MiniGemini(Adapter):
    """`MiniGeminiForConditionalGeneration`: behind the projector it is LLaVA."""

    def __init__(self, model: Any, visual_mask: Tensor | tuple[int, int] | None = None) -> None:
        if visual_mask is not None:
            raise ValueError(
                "a Mini-Gemini model finds its visual tokens itself; leave visual_mask out"
            )
        self.config = model.config
        self.base, self.decoder = model.model, model.model.language_model
        self.tower_lack = tower_lack(model.config)
        self.states = TowerStates(model.config.vision_feature_layer)
        self.mined: Tensor | None = None

    def attach_tower(self, hook: Callable) -> None:
        """Watch the layer of CLIP that is mined, and what the projector is given."""
        self.states.attach(self.base.vision_tower, hook)
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

    def visual_mask(self, arguments: dict) -> Tensor:
        """True at the image placeholders."""
        token = self.config.image_token_id
        return placeholders(arguments, [("image", token, ("pixel_values",))], TowerNotes())

    def grids(self, arguments: dict, counts: Sequence[int]) -> list[Grid | None]:
        """(rows, columns); of an HD image (views, rows, columns): the whole, then its crops."""
        check_equal(counts, "image")
        vision, views = self.config.vision_config, self.config.num_views
        side = vision.image_size // vision.patch_size
        grid = (side, side) if views == 1 else (views, side, side)
        return [grid if count == views * side * side else None for count in counts]
