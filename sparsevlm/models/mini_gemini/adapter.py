"""What pruning needs to know about Mini-Gemini."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from sparsevlm.models.vision import TowerNotes, check_equal, placeholders
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
