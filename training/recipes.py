"""The recipes of the miniatures: what is trained, on what, in which order and how fast."""

from __future__ import annotations

from dataclasses import dataclass

TRAINING_SEEDS = 10**6  # scenes per stage; those of the benchmarks start far above (questions.py)
STAGES_PER_SEED = 100  # room for the stages of all recipes under one training seed


@dataclass(frozen=True)
class Stage:
    """One part of a recipe.

    ``loss`` names an entry of `losses.LOSSES`; ``grid`` 12 means training windows, 24 whole
    scenes; ``batch`` counts images per step over all processes; the learning rates fall linearly
    to ``final`` times their value from the fraction ``decay_from`` of the steps on. With
    ``bfloat16`` products of matrices are in that precision, all else and the weights in float32.
    """

    name: str
    loss: str
    steps: int
    batch: int
    grid: int
    frozen: tuple[str, ...]
    muon_lr: float
    adam_lr: float
    decay_from: float
    final: float
    options: tuple[tuple[str, float], ...] = ()
    bfloat16: bool = False

    def rate(self, step: int) -> float:
        """Factor on the learning rates at a step (warm-up over 20 steps, then as declared)."""
        warm = min(1.0, (step + 1) / 20)
        start = self.decay_from * self.steps
        progress = max(0.0, (step - start) / max(1.0, self.steps - start))
        return warm * (1 - (1 - self.final) * progress)


@dataclass(frozen=True)
class Recipe:
    """How one miniature comes about.

    Attributes
    ----------
    num_layers : int
        Decoder layers.
    stages : tuple of Stage
        In order.
    base : str
        The shipped miniature that it starts from; "" starts from random weights.
    first_stage : int
        Number of the first stage among those of all recipes. It decides the scenes, so that no
        recipe trains on a scene of another (`scenes_from`).
    """

    num_layers: int
    stages: tuple[Stage, ...]
    base: str = ""
    first_stage: int = 0

    def scenes_from(self, stage: int, seed: int) -> int:
        """First of the `TRAINING_SEEDS` scenes that belong to a stage under a training seed."""
        return TRAINING_SEEDS * (1 + self.first_stage + stage + STAGES_PER_SEED * seed)

    def stage_names(self) -> list[str]:
        """Names of the stages, in order."""
        return [stage.name for stage in self.stages]
