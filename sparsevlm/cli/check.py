"""Are the files there that a reproduction reads, and are they whole?"""

from __future__ import annotations

from pathlib import Path

from sparsevlm.analysis import published


def missing_assets(miniatures: Path | None = None) -> list[str]:
    """Return what is missing or damaged among the bundled files; one sentence each.

    Parameters
    ----------
    miniatures : Path, optional
        The folder of the bundled models; by default that of the repository.
    """
    from sparsevlm.miniature.registry import MINIATURES
    from sparsevlm.miniature.weights import DATA, MissingAssetError, verify

    found = []
    try:
        published.rows("table1")
    except (FileNotFoundError, ValueError) as error:
        found.append(str(error))
    for name in MINIATURES:
        try:
            verify((miniatures or DATA) / name)
        except MissingAssetError as error:
            found.append(str(error))
    return found
