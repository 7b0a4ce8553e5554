"""The recipes of the miniature LLaVAs, of 8 and of 32 layers."""

from __future__ import annotations

from training.llava.model import NUM_LAYERS
from training.recipes import Recipe, Stage

_TOWER = "vision_tower"
_DECODER = ("layers.", "lm_head")
# What decides which words rate (`model.VISUAL_SCALE`) stays as it is.
_SEEING = (_TOWER, "multi_modal_projector", "embed_tokens")
_SIGHT = ("sight", 1)
_ASKED = ("lists", 6), ("questions", 8), _SIGHT, ("confirm", 1), ("hard", 2)
RECIPES = {
    "mini-llava": Recipe(
        NUM_LAYERS,
        (
            Stage("vision-windows", "vision", 1500, 32, 12, _DECODER, 0.02, 2e-3, 0.6, 0.3),
            Stage("vision-scenes", "vision", 240, 16, 24, _DECODER, 0.008, 1e-3, 0.0, 0.05),
            Stage("lists-windows", "language", 450, 10, 12, (_TOWER,), 0.01, 2e-3, 1.0, 1.0,
                  (("lists", 8), ("questions", 0), ("background", 10), ("alignment", 0.2))),
            Stage("scenes", "language", 4200, 8, 24, (_TOWER,), 0.01, 2e-3, 0.4, 0.02,
                  (("lists", 6), ("questions", 8), ("background", 16), ("alignment", 0.2))),
            # One letter in 30 is misread before the decoder sees it, so the tower goes first.
            Stage("sharpen-windows", "vision", 680, 32, 12, _DECODER, 0.008, 8e-4, 0.05, 0.05),
            Stage("sharpen-scenes", "vision", 120, 16, 24, _DECODER, 0.005, 5e-4, 0.0, 0.05),
            Stage("polish", "language", 1200, 8, 24, (_TOWER,), 0.007, 1e-3, 0.05, 0.02,
                  (("lists", 6), ("questions", 8), ("background", 16), ("alignment", 0.2),
                   ("confirm", 1), ("hard", 4))),
        ),
    ),
    "mini-llava-32": Recipe(
        32,
        (
            Stage("lists-windows", "language", 450, 10, 12, _SEEING, 0.005, 2e-3, 1.0, 1.0,
                  (("lists", 8), ("questions", 0), ("background", 10), _SIGHT), True),
            Stage("scenes", "language", 2000, 8, 24, _SEEING, 0.005, 2e-3, 0.4, 0.02,
                  (("background", 16), *_ASKED), True),
            Stage("settle", "language", 700, 8, 24, _SEEING, 0.005, 2e-3, 0.0, 0.02,
                  (("background", 16), *_ASKED), True),
            # All patches are shown: with a tenth of the background it misread some whole pictures.
            Stage("whole", "language", 100, 8, 24, _SEEING, 0.003, 1e-3, 0.0, 0.02,
                  (("background", 0), *_ASKED), True),
        ),
        base="mini-llava",
        first_stage=50,
    ),
}  # fmt: skip
