"""Drawn data of all twelve benchmarks, in the folders that the loaders read."""

from __future__ import annotations

import json
from pathlib import Path

from synthetic import write_synthetic

from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.benchmarks.loaders import layout_of, load

NOTE = "drawn for a rehearsal, no real data"


def write_data(folder: Path, rows: int, names: tuple[str, ...] = tuple(BENCHMARKS)) -> Path:
    """Write drawn data into the folder of SPARSEVLM_DATA; each set says that it is a part.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    rows : int
        About how many questions of each benchmark; whole groups.
    names : tuple of str
        Benchmarks.
    """
    for seed, name in enumerate(names):
        where = write_synthetic(name, folder / layout_of(name).folder, rows, seed)
        count = len(load(name, where, complete=False))
        (where / "part.json").write_text(json.dumps({"rows": count, "note": NOTE}))
    return folder
