"""An untrained miniature on the disk, and real shortages and kills for runs of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparsevlm.evaluation.backends import MiniatureBackend

ABSURD = 1 << 50  # bytes; no machine has them


def untrained(folder: Path, num_layers: int = 4) -> MiniatureBackend:
    """A source whose only model, mini-llava, is small, random and sensitive to its picture."""
    from sparsevlm.miniature.llava.model import build_model
    from sparsevlm.miniature.weights import export

    model = build_model(0, num_layers=num_layers)
    for name, weights in model.named_parameters():  # or it would say the same of every image
        if name.endswith(("q_proj.weight", "k_proj.weight", "o_proj.weight")):
            weights.data.mul_(12)
    export(model, folder / "mini-llava")
    return MiniatureBackend(str(folder))


@dataclass(frozen=True)
class Hungry(MiniatureBackend):
    """A source whose model asks for absurd memory: for batches above a limit, and some samples.

    Both allocations are real and are refused, torch's and NumPy's.
    """

    limit: int = 1000
    samples_too_large: tuple[str, ...] = ()

    def load(self, model, **how):
        loaded, builder = super().load(model, **how)
        loaded.register_forward_pre_hook(self._allocate, with_kwargs=True)
        return loaded, builder

    def media(self, model, samples):
        for sample, images in zip(samples, super().media(model, samples), strict=True):
            if sample.id in self.samples_too_large:
                np.empty(ABSURD, np.uint8)
            yield images

    def _allocate(self, module, args, kwargs):
        import torch

        if len(kwargs["input_ids"]) > self.limit:
            torch.empty(ABSURD, dtype=torch.uint8)


def quiet(num_samples):
    """A report of progress that nobody reads."""


def die(*_):
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


def python(code: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run code in a process of its own that can import the tests' helpers."""
    prologue = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
    command = [sys.executable, "-c", prologue + textwrap.dedent(code), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)
