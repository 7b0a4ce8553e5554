"""Where a grown miniature is pruned: by depth, and also after layers whose words read the image.

The paper prunes after layers 2, 6 and 15 of 32, and `scale_layers` keeps those fractions of depth.
A miniature that was deepened by inserting layers has neighbours of which one reads the image and
one hardly does, and a fraction of depth may hit either. So a second rule stands beside the first.
Both come from the dense model alone, never from a pruned answer; but the second was written after
the results of the first had been seen, so it explains them and does not replace them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sparsevlm.core.budget import OFFICIAL_LAYERS, scale_layers
from sparsevlm.evaluation.paths import DATA

READS = 0.5  # of the most that any layer reads


def probes_of(model: str, folder: Path = DATA / "miniature") -> dict:
    """Return where a dense miniature looks, from its card.

    Raises
    ------
    FileNotFoundError
        There is no card: the model is no miniature.
    ValueError
        The card has no probes.
    """
    path = folder / f"{model}.json"
    probes = json.loads(path.read_text(encoding="utf-8")).get("probes")
    if not probes:
        raise ValueError(
            f"{path} does not say where {model} looks; measure it: "
            f"python -m training.card --name {model} --measure-again"
        )
    return probes


def move(layers: Sequence[int], reading: Sequence[float]) -> tuple[int, ...]:
    """Move each stage to the nearest layer that reads the image.

    A layer reads it if the word that names an object puts at least half as much attention on the
    object as in the best layer (`reading`: by layer, in the best head). Of two layers as near, the
    earlier: a later one would leave more tokens in the layers before it than a small budget has.
    Two stages that meet become one.
    """
    enough = READS * max(reading)
    readers = [layer for layer, share in enumerate(reading[:-1]) if share >= enough]
    return tuple(
        sorted({min(readers, key=lambda reader: (abs(reader - layer), reader)) for layer in layers})
    )


def moved_layers(model: str, folder: Path = DATA / "miniature") -> tuple[int, ...]:
    """Return SparseVLM's pruning layers for a miniature, moved to layers that read.

    Its card says where it looks.
    """
    reading = probes_of(model, folder)["attention"]["naming word"]
    return move(scale_layers(OFFICIAL_LAYERS, len(reading)), reading)
