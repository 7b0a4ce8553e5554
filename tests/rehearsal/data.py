"""Drawn data of all twelve benchmarks, in the folders that the loaders read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from synthetic import write_synthetic

from sparsevlm.benchmarks import BENCHMARKS, Sample
from sparsevlm.benchmarks.loaders import layout_of, load

NOTE = "drawn for a rehearsal, no real data"
LETTERS = "ABCDE"


def write_data(folder: Path, rows: int, names: Sequence[str] = tuple(BENCHMARKS)) -> Path:
    """Write drawn data into the folder of SPARSEVLM_DATA; each set says that it is a part.

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
        where = folder / layout_of(name).folder
        write_synthetic(name, where, rows, seed, lambda sample, name=name: answerable(name, sample))
        count = len(load(name, where, complete=False))
        (where / "part.json").write_text(json.dumps({"rows": count, "note": NOTE}))
    return folder


def answerable(name: str, sample: Sample) -> Sample:
    """Let a question have the answer that `checkpoints.TAUGHT` makes likely."""
    if name in ("pope", "mme"):  # half of them have: yes
        return sample
    if name in ("gqa", "textvqa"):
        return replace(sample, answer="yes", answers=("yes",) * len(sample.answers))
    if name in ("scienceqa", "seed"):
        return replace(sample, answer="A")
    asked = replace(sample, question=f"What color has it, and {sample.question}")
    if name == "mmbench":
        options = list(sample.options)
        options[LETTERS.index(sample.answer)] = "red"
        return replace(asked, options=tuple(options))
    return replace(asked, answer="red", answers=("red",) * len(sample.answers))
