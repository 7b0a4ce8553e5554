"""The recipe of the miniature Video-LLaVA."""

from __future__ import annotations

from ..recipes import Recipe, Stage
from .model import NUM_LAYERS

_DECODER = ("image_tower", "layers.", "lm_head")
_TOWERS = ("image_tower", "video_tower")
# Until the last stage only the eight layers of the base run, the ones between are the identity.
RECIPES = {
    "mini-video-llava": Recipe(
        NUM_LAYERS,
        (
            Stage("frames", "vision", 120, 8, 16, _DECODER, 0.003, 1e-3, 0.2, 0.05,
                  (("frames", 2),)),
            Stage("lists", "language", 200, 4, 16, _TOWERS, 0.01, 2e-3, 1.0, 1.0,
                  (("lists", 11), ("questions", 0), ("background", 16), ("alignment", 0.2),
                   ("every", 2))),
            Stage("shows", "shows", 60, 2, 16, (*_TOWERS, "projector"), 0.005, 1e-3, 1.0, 1.0,
                  (("shuffles", 4), ("lists", 5), ("patches", 4), ("background", 6), ("every", 2))),
            Stage("clips", "language", 100, 3, 16, _TOWERS, 0.004, 1e-3, 0.4, 0.4,
                  (("lists", 4), ("shows", 4), ("questions", 8), ("background", 16),
                   ("alignment", 0.2), ("every", 2))),
            Stage("more", "language", 120, 4, 16, _TOWERS, 0.003, 8e-4, 0.5, 0.4,
                  (("lists", 4), ("shows", 4), ("questions", 10), ("background", 16),
                   ("alignment", 0.2), ("every", 2))),
            Stage("deep", "language", 90, 4, 16, _TOWERS, 0.003, 6e-4, 0.1, 0.02,
                  (("lists", 4), ("shows", 4), ("questions", 10), ("background", 16),
                   ("alignment", 0.2), ("every", 1))),
        ),
        base="mini-llava",
        first_stage=40,
    ),
}  # fmt: skip
