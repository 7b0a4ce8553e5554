"""The recipe of the miniature Video-LLaVA."""

from __future__ import annotations

from ..recipes import Recipe, Stage
from .model import CLOCK_LAYER, NUM_LAYERS

_DECODER = ("image_tower", "layers.", "lm_head")
_TOWERS = ("image_tower", "video_tower")
_ALL_BUT_CLOCK = (
    *_TOWERS, "projector", "embed_tokens", "language_model.norm",
    *(f"language_model.layers.{n}." for n in range(NUM_LAYERS) if n != CLOCK_LAYER),
)  # fmt: skip
# What tells the frames apart, and what it reads: trained on, it is lost within a few hundred steps.
_CLOCK = (*_TOWERS, "projector", "language_model.layers.0.", "language_model.layers.1.")
# Until the last stage the layers between those of the base are the identity, but for the clock.
RECIPES = {
    "mini-video-llava": Recipe(
        NUM_LAYERS,
        (
            Stage("frames", "vision", 120, 8, 16, _DECODER, 0.003, 1e-3, 0.2, 0.05,
                  (("frames", 2),)),
            Stage("lists", "language", 200, 4, 16, _TOWERS, 0.01, 2e-3, 1.0, 1.0,
                  (("lists", 11), ("questions", 0), ("background", 16), ("alignment", 0.2),
                   ("every", 2))),
            Stage("order", "order", 400, 1, 16, _ALL_BUT_CLOCK, 0.02, 5e-3, 0.5, 0.1,
                  (("shuffles", 6), ("background", 16))),
            Stage("clips", "language", 300, 4, 16, _TOWERS, 0.01, 2e-3, 1.0, 1.0,
                  (("lists", 9), ("questions", 5), ("background", 16), ("alignment", 0.2),
                   ("every", 2), ("clock", 1))),
            Stage("order-again", "order", 300, 1, 16, _ALL_BUT_CLOCK, 0.02, 2e-2, 0.5, 0.05,
                  (("shuffles", 6), ("background", 16), ("quiet", 0.3))),
            Stage("reading", "reading", 150, 2, 16, _CLOCK, 0.01, 2e-3, 1.0, 1.0,
                  (("shuffles", 5), ("lists", 4), ("patches", 2), ("background", 6), ("every", 2),
                   ("clock", 1))),
            Stage("mixed", "language", 400, 4, 16, _CLOCK, 0.008, 1.5e-3, 0.5, 0.3,
                  (("lists", 9), ("questions", 6), ("background", 16), ("alignment", 0.2),
                   ("every", 2), ("clock", 1), ("changes", 2))),
            Stage("deep", "language", 200, 4, 16, _CLOCK, 0.006, 1e-3, 0.05, 0.02,
                  (("lists", 7), ("questions", 7), ("background", 16), ("alignment", 0.2),
                   ("every", 1))),
        ),
        base="mini-llava",
        first_stage=40,
    ),
}  # fmt: skip
