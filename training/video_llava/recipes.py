"""The recipe of the miniature Video-LLaVA."""

from __future__ import annotations

from training.recipes import Recipe, Stage
from training.video_llava.model import NUM_LAYERS
from training.video_llava.supervision import CLOCK_LAYER

_DECODER = ("image_tower", "layers.", "lm_head")
_TOWERS = ("image_tower", "video_tower")
_ALL_BUT_CLOCK = (
    *_TOWERS,
    "projector",
    "lm_head",
    "embed_tokens",
    "language_model.norm",
    *(f"layers.{i}." for i in range(NUM_LAYERS) if i != CLOCK_LAYER),
)
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
            Stage("clock", "deep_supervision", 200, 6, 16, _ALL_BUT_CLOCK, 0.01, 2e-3, 0.5, 0.2,
                  (("both ways", 1), ("patches", 4), ("background", 16), ("whole", 4),
                   ("clock", 1))),
            Stage("deeds", "deep_supervision", 300, 6, 16,
                  (*_TOWERS, "projector", "lm_head"), 0.006, 1e-3,
                  1.0, 1.0,
                  (("both ways", 1), ("patches", 4), ("background", 100), ("clock", 0.3),
                   ("actions", 1))),
            Stage("doing", "language", 200, 3, 16, _TOWERS, 0.007, 1.2e-3, 1.0, 1.0,
                  (("lists", 6), ("shows", 2), ("questions", 7), ("background", 50),
                   ("alignment", 0.2), ("every", 1), ("both ways", 1), ("patches", 4),
                   ("clock", 0.2), ("actions", 0.6))),
            Stage("final", "language", 180, 3, 16, _TOWERS, 0.007, 1.2e-3, 0.15, 0.02,
                  (("lists", 5), ("shows", 2), ("questions", 7), ("background", 24),
                   ("alignment", 0.2), ("every", 1), ("both ways", 1), ("patches", 6),
                   ("clock", 0.1), ("actions", 0.6))),
            Stage("crowd", "language", 150, 3, 16, _TOWERS, 0.006, 1e-3, 1.0, 1.0,
                  (("lists", 7), ("shows", 2), ("questions", 8), ("background", 48),
                   ("alignment", 0.2), ("every", 1), ("both ways", 1), ("patches", 8),
                   ("token_size", 1), ("clock", 0.2), ("actions", 0.6))),
            Stage("so far", "language", 150, 3, 16, _TOWERS, 0.006, 1e-3, 1.0, 1.0,
                  (("lists", 6), ("shows", 1), ("questions", 8), ("background", 48),
                   ("alignment", 0.2), ("every", 1), ("both ways", 1), ("patches", 8),
                   ("token_size", 1), ("clock", 0.2), ("actions", 0.8))),
            Stage("doer", "language", 200, 3, 16, _TOWERS, 0.006, 1e-3, 1.0, 1.0,
                  (("lists", 6), ("shows", 1), ("questions", 8), ("background", 48),
                   ("alignment", 0.2), ("every", 1), ("both ways", 1), ("patches", 8),
                   ("token_size", 1), ("clock", 0.2), ("actions", 0.8), ("actor", 0.8))),
            Stage("asked", "language", 380, 6, 16, _TOWERS, 0.006, 1e-3, 0.4, 0.02,
                  (("lists", 4), ("questions", 12), ("background", 64),
                   ("alignment", 0.2), ("every", 1), ("both ways", 1), ("patches", 8),
                   ("token_size", 1), ("clock", 0.2), ("actions", 0.8), ("actor", 0.5))),
        ),
        base="mini-llava",
        first_stage=40,
    ),
}  # fmt: skip
