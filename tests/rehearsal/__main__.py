"""`python -m rehearsal`, from the root of the repository with tests/ on the path."""

from __future__ import annotations

import sys

from rehearsal.run import ROOT, RehearsalError, rehearse

try:
    rehearse(ROOT / "artifacts" / "rehearsal")
except RehearsalError as error:
    sys.exit(f"rehearsal: {error}")
