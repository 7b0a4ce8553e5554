"""What pruning needs to know about Mini-Gemini."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from sparsevlm.models.vision import VisionLanguageModel, check_equal
from sparsevlm.runtime.adapter import Grid


class MiniGemini(VisionLanguageModel):
    """`MiniGeminiForConditionalGeneration`: behind the projector it is LLaVA."""

    keys: ClassVar = {"image": ("pixel_values",)}

    def grids(self, arguments: dict, counts: Sequence[int]) -> list[Grid | None]:
        """(rows, columns); of an HD image (views, rows, columns): the whole, then its crops."""
        check_equal(counts, "image")
        vision, views = self.config.vision_config, self.config.num_views
        side = vision.image_size // vision.patch_size
        grid = (side, side) if views == 1 else (views, side, side)
        return [grid if count == views * side * side else None for count in counts]
