"""Options of `python -m sparsevlm bench`; imports without torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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
    methods : tuple of str
    parts : tuple of str
        Of `PARTS`.
    rounds, new_tokens, batch : int
    batches, scale : tuple of int
        Batch sizes of "throughput", "operators" and "footprint"; visual tokens of "scale" and
        "footprint".
    capture : bool
        In "prefill", run dense model and methods also from graphs.
    device, dtype, attention : str
    seed : int
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser; their defaults are those of `Options`."""
    default = Options()

    def add(name: str, kind: object, text: str, **how: object) -> None:
        value = getattr(default, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=kind, default=value, help=text, **how)

    add("shape", str, "reference, or a model at full size with random weights", metavar="NAME")
    add("layers", positive, "scale the shape down to N layers", metavar="N")
    add("hidden", positive, "scale the shape down to width N", metavar="N")
    add("visual", positive, "visual tokens, with the reference only", metavar="N")
    add("budgets", positive, "budgets (default: of the shape)", nargs="+", metavar="N")
    add("methods", str, "methods with fixed counts (default: sparsevlm)", nargs="+",
        metavar="NAME")  # fmt: skip
    add("parts", str, f"of {', '.join(PARTS)} (default: prefill)", nargs="+", choices=PARTS,
        metavar="PART")  # fmt: skip
    add("rounds", positive, "interleaved rounds (default: 15)", metavar="N")
    add("new-tokens", positive, "tokens of an answer (default: 8)", metavar="N")
    add("batch", positive, "prompts in one batch (default: 1)", metavar="N")
    add("batches", positive, "batches of throughput, operators, footprint", nargs="+", metavar="N")
    add("scale", positive, "visual tokens of scale and footprint", nargs="+", metavar="N")
    parser.add_argument(
        "--capture", action="store_true",
        help="run the prefills of dense model and methods from graphs as well",
    )  # fmt: skip
    add("device", str, "cpu or cuda (default: cpu)", metavar="NAME")
    add("dtype", str, "of weights and activations (default: float32)", metavar="NAME")
    add("attention", str, "kernel, as transformers names it (default: sdpa)", metavar="NAME")
    add("seed", int, "of weights, prompts and order (default: 0)", metavar="N")
    add("record", Path, "also write the result to this file", metavar="FILE")


def from_namespace(values: argparse.Namespace) -> Options:
    """Return the options of a parsed command line."""
    found = {name: getattr(values, name) for name in Options.__dataclass_fields__}
    lists = ("budgets", "methods", "parts", "batches", "scale")
    return Options(**{**found, **{name: tuple(found[name]) for name in lists}})


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Return the options of a command line of its own."""
    parser = argparse.ArgumentParser(description="Time and memory of pruning, on random weights")
    add_arguments(parser)
    return from_namespace(parser.parse_args(arguments))


def positive(text: str) -> int:
    """Read a whole number from 1 on, for `argparse`."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return number
