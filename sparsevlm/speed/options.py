"""What `sparsevlm bench` measures, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FORMAT = 1  # of records
PARTS = ("prefill", "answers", "memory", "scale", "throughput", "operators", "footprint")
# Calculated at full size on tensors without values.
CALCULATED = ("operators", "footprint")
SCALE = (576, 2048, 2880, 4096, 16384)


@dataclass(frozen=True)
class Options:
    """What is measured, and on what.

    Attributes
    ----------
    shape : str
        See `shapes.SHAPES`; "reference" is a decoder that a CPU runs in a moment.
    layers, hidden : int, optional
        Scale the shape down.
    visual : int, optional
        Visual tokens, of "reference" only; budgets are then the same share of them.
    budgets : tuple of int
        Empty: those of the shape.
    batches, scale : tuple of int
        Batch sizes of "throughput", "operators" and "footprint"; visual tokens of "scale" and
        "footprint".
    capture : bool
        In "prefill", run dense model and methods also from graphs.
    record : Path, optional
        Where to write the result.
    """

    shape: str = "reference"
    layers: int | None = None
    hidden: int | None = None
    visual: int | None = None
    budgets: tuple[int, ...] = ()
    methods: tuple[str, ...] = ("sparsevlm",)
    parts: tuple[str, ...] = ("prefill",)
    rounds: int = 15
    new_tokens: int = 8
    batch: int = 1
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    scale: tuple[int, ...] = SCALE
    capture: bool = False
    device: str = "cpu"
    dtype: str = "float32"
    attention: str = "sdpa"
    seed: int = 0
    record: Path | None = None
