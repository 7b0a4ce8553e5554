"""An untrained miniature on the disk, and real shortages and kills for runs of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from sparsevlm.evaluation.backends import MiniatureBackend

ABSURD = 1 << 50  # bytes; no machine has them


def untrained(folder: Path, num_layers: int = 4) -> MiniatureBackend:
    """A source whose only model, mini-llava, is small, random and sensitive to its picture."""
    from training.export import export
    from training.llava.model import build_model

    model = build_model(0, num_layers=num_layers)
    for name, weights in model.named_parameters():  # or it would say the same of every image
        if name.endswith(("q_proj.weight", "k_proj.weight", "o_proj.weight")):
            weights.data.mul_(12)
    export(model, folder / "mini-llava")
    return MiniatureBackend(str(folder))


def with_inputs(builder, inputs):
    """The same prompt builder, whose inputs are `inputs(builder, questions, media)`."""
    kind = type(builder)
    other = type("Other", (kind,), {"inputs": lambda self, *asked: inputs(builder, *asked)})
    return other(**{f.name: getattr(builder, f.name) for f in fields(kind)})


@dataclass(frozen=True)
class Hungry(MiniatureBackend):
    """A source whose model asks for absurd memory: for batches above a limit, and some samples.

    Both allocations are real and are refused, torch's and NumPy's.
    """

    limit: int = 1000
    questions_too_large: tuple[str, ...] = ()

    def load(self, model, **how):
        loaded, builder = super().load(model, **how)
        loaded.register_forward_pre_hook(self._allocate, with_kwargs=True)
        return loaded, with_inputs(builder, self._inputs)

    def _inputs(self, builder, questions, media):
        if any(question in self.questions_too_large for question in questions):
            np.empty(ABSURD, np.uint8)
        return builder.inputs(questions, media)

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
