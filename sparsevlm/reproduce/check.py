"""Are the files there that a reproduction reads, and are they whole?"""

from __future__ import annotations

import hashlib
from pathlib import Path

from sparsevlm.reproduce import published
from sparsevlm.reproduce.paths import DATA, relative

# Beside the weights, in the format of `sha256sum`, so that `sha256sum --check` reads it too.
CHECKSUMS = "SHA256SUMS"


def missing_assets(data: Path = DATA) -> list[str]:
    """Return what is missing or damaged among the bundled files; one sentence each."""
    found = []
    try:
        published.rows("table1")
    except (FileNotFoundError, ValueError) as error:
        found.append(str(error))
    models = sorted(path.parent for path in (data / "miniature").glob(f"*/{CHECKSUMS}"))
    if not models:
        found.append(
            f"no miniature model with a {CHECKSUMS} in {relative(data / 'miniature')}; "
            "take it from the repository, or train it with `make train`"
        )
    for folder in models:
        found += damaged_files(folder)
    return found


def damaged_files(folder: Path) -> list[str]:
    """Return the files of `folder` that its list of checksums does not find or does not match."""
    found = []
    for line in (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines():
        expected, _, name = line.partition("  ")
        path = folder / name
        if not path.is_file():
            found.append(f"{relative(path)} is missing; take it from the repository")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            found.append(f"{relative(path)} is damaged (checksum); take it from the repository")
    return found
