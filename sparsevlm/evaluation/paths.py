"""Where the repository keeps things.

The suite runs from a clone (an editable install): its data, notebooks and figures are files of
the repository, not of the installed package.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
FIGURES = ROOT / "figures"
RESULTS = ROOT / "results"
ARTIFACTS = ROOT / "artifacts"


def relative(path: Path) -> str:
    """Return a path as a user of the repository would write it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
