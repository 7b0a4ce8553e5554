"""Options of `python -m sparsevlm bench`; imports without torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from pathlib import Path

FORMAT = 1  # of records
PARTS = ("prefill", "answers", "memory", "scale", "throughput", "operators", "footprint")
# Calculated at full size on tensors without values.
CALCULATED = ("operators", "footprint")


def positive(text: str) -> int:
    """Read a whole number from 1 on, for `argparse`."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return number


def _option(default: object, kind: Callable, text: str, metavar: str = "N") -> object:
    return field(default=default, metadata={"type": kind, "help": text, "metavar": metavar})


@dataclass(frozen=True)
class Options:
    """What is measured, and on what; the help of each option says what it is.

    ``budgets`` belong to the shape's own number of visual tokens; of another number (``visual``,
    ``scale``) the same share is kept.
    """

    shape: str = _option(
        "reference", str, "reference, or a model at full size with random weights", "NAME"
    )
    layers: int | None = _option(None, positive, "scale the shape down to N layers")
    hidden: int | None = _option(None, positive, "scale the shape down to width N")
    visual: int | None = _option(None, positive, "visual tokens, with the reference only")
    budgets: tuple[int, ...] = _option((), positive, "budgets (default: of the shape)")
    methods: tuple[str, ...] = _option(
        ("sparsevlm",), str, "methods with fixed counts (default: sparsevlm)", "NAME"
    )
    parts: tuple[str, ...] = _option(
        ("prefill",), str, f"of {', '.join(PARTS)} (default: prefill)", "PART"
    )
    rounds: int = _option(15, positive, "interleaved rounds (default: 15)")
    new_tokens: int = _option(8, positive, "tokens of an answer (default: 8)")
    batch: int = _option(1, positive, "prompts in one batch (default: 1)")
    batches: tuple[int, ...] = _option(
        (1, 2, 4, 8, 16, 32), positive, "batches of throughput, operators, footprint"
    )
    scale: tuple[int, ...] = _option(
        (576, 2048, 2880, 4096, 16384), positive, "visual tokens of scale and footprint"
    )
    capture: bool = _option(
        False, bool, "run the prefills of dense model and methods from graphs as well"
    )
    device: str = _option("cpu", str, "cpu or cuda (default: cpu)", "NAME")
    dtype: str = _option("float32", str, "of weights and activations (default: float32)", "NAME")
    attention: str = _option(
        "sdpa", str, "kernel, as transformers names it (default: sdpa)", "NAME"
    )
    seed: int = _option(0, int, "of weights, prompts and order (default: 0)")
    record: Path | None = _option(None, Path, "also write the result to this file", "FILE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser; their defaults are those of `Options`."""
    for option in fields(Options):
        name, how = f"--{option.name.replace('_', '-')}", dict(option.metadata)
        if option.default is False:
            parser.add_argument(name, action="store_true", help=how["help"])
            continue
        if _is_list(option):
            how["nargs"] = "+"
        if option.name == "parts":
            how["choices"] = PARTS
        parser.add_argument(name, default=option.default, **how)


def _is_list(option: Field) -> bool:
    return isinstance(option.default, tuple)


def from_namespace(values: argparse.Namespace) -> Options:
    """Return the options of a parsed command line."""
    found = {option.name: getattr(values, option.name) for option in fields(Options)}
    lists = {option.name: tuple(found[option.name]) for option in filter(_is_list, fields(Options))}
    return Options(**{**found, **lists})
