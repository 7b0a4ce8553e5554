"""The recipe of the miniature Qwen2-VL."""

from __future__ import annotations

from training.qwen2_vl.model import NUM_LAYERS
from training.recipes import Recipe, Stage

_WORDS = ("layers.", "lm_head", "embed_tokens")
_TOWER = ("visual.blocks", "visual.patch_embed")
RECIPES = {
    "mini-qwen2-vl": Recipe(
        NUM_LAYERS,
        (
            Stage("vision-small", "vision", 500, 32, 12, _WORDS, 0.02, 2e-3, 0.6, 0.1),
            Stage("vision-large", "vision", 60, 4, 36, _WORDS, 0.008, 1e-3, 0.2, 0.05),
            Stage("small", "language", 120, 8, 14, _TOWER, 0.01, 2e-3, 1.0, 1.0,
                  (("lists", 6), ("questions", 6), ("background", 40), ("alignment", 0.2))),
            Stage("medium", "language", 450, 8, 24, _TOWER, 0.01, 2e-3, 0.5, 0.3,
                  (("lists", 6), ("questions", 6), ("background", 24), ("alignment", 0.2))),
            # All tokens: what is learned beside 24 patches of background fails beside 1100.
            Stage("large", "language", 200, 4, 36, _TOWER, 0.005, 1e-3, 0.3, 0.02,
                  (("lists", 6), ("questions", 6), ("background", 0), ("alignment", 0.2))),
            Stage("polish", "language", 130, 4, 36, _TOWER, 0.005, 1e-3, 0.15, 0.02,
                  (("lists", 6), ("questions", 8), ("background", 0), ("alignment", 0.2),
                   ("hard", 4))),
        ),
        base="mini-llava",
        first_stage=40,
    ),
}  # fmt: skip
