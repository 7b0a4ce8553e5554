"""The recipe of the miniature Mini-Gemini."""

from __future__ import annotations

from training.recipes import Recipe, Stage

# Frozen until the last stage: decoder, words and the low-resolution tower ("vision_tower.", which
# stays as it is; the other one is "vision_tower_aux.").
_OLD = ("layers.", "lm_head", "embed_tokens", "vision_tower.")
_ASKED = (("lists", 4), ("questions", 4), ("background", 16), ("alignment", 0.2), ("confirm", 1),
          ("hard", 3))  # fmt: skip
RECIPES = {
    "mini-gemini": Recipe(
        16,
        (
            Stage("fine-cells", "cells", 220, 8, 12,
                  (*_OLD, "projector", "mining.query", "mining.key"),
                  0.02, 2e-3, 0.6, 0.05, (("many cards", 16),)),
            Stage("mine-windows", "mining", 300, 8, 12, (*_OLD, "projector"), 0.02, 2e-3,
                  0.4, 0.05, (("many cards", 12),)),
            Stage("small-print", "language", 160, 4, 24, _OLD, 0.004, 3e-4, 0.2, 0.02, _ASKED),
            Stage("sharpen-windows", "mining", 260, 8, 12, (*_OLD, "projector"), 0.008, 1e-3,
                  0.1, 0.02, (("many cards", 12),)),
            Stage("small-print-again", "language", 100, 4, 24, _OLD, 0.003, 2e-4,
                  0.0, 0.02, _ASKED),
            Stage("read-small-print", "language", 120, 4, 24, ("vision_tower.",), 0.002, 2e-4,
                  0.0, 0.02, (*_ASKED, ("small", 3))),
        ),
        base="mini-llava-16",
        first_stage=20,
    ),
}  # fmt: skip
