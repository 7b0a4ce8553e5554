"""Drawn data of all twelve benchmarks, in the layouts that a fetch leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from dataset_hub import write_fetched

from sparsevlm.benchmarks import BENCHMARKS, Sample

LETTERS = "ABCDE"


def write_data(folder: Path, rows: int, names: Sequence[str] = tuple(BENCHMARKS)) -> Path:
    """Write drawn data into the folder of SPARSEVLM_DATA, as a fetch of a part leaves them.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    rows : int
        About how many questions of each benchmark; whole groups.
    names : sequence of str
        Benchmarks.
    """
    for seed, name in enumerate(names):
        write_fetched(name, folder, rows, seed, partial(answerable, name))
    return folder


def answerable(name: str, sample: Sample) -> Sample:
    """Let a question have the answer that `checkpoints.TAUGHT` makes likely."""
    if name == "mme":  # half of them have: yes
        return sample
    if name in ("pope", "gqa", "textvqa"):
        return replace(sample, answer="yes", answers=("yes",) * len(sample.answers))
    if name in ("scienceqa", "seed"):
        return replace(sample, answer="A")
    asked = replace(sample, question=f"What color has it, and {sample.question}")
    if name == "mmbench":
        options = list(sample.options)
        options[LETTERS.index(sample.answer)] = "red"
        return replace(asked, options=tuple(options))
    return replace(asked, answer="red", answers=("red",) * len(sample.answers))
