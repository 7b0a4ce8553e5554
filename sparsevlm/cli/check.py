"""Checks of the repository: notebooks generated from their sources, bundled files undamaged."""

from __future__ import annotations

from pathlib import Path

from sparsevlm.paper.notebooks import SOURCES, is_current, known_notebooks


def notebook_problems(sources: Path = SOURCES) -> list[str]:
    """Return which notebooks are not those of their sources; one sentence each."""
    found = []
    for name in known_notebooks(sources):
        source, target = sources / f"{name}.py", sources.parent / f"{name}.ipynb"
        if not is_current(target, source):
            found.append(
                f"{name}: {target.name} differs from its source; run `sparsevlm check --fix`"
            )
    for target in sorted(sources.parent.glob("*.ipynb")):
        if target.stem not in known_notebooks(sources) and ".partial" not in target.name:
            found.append(f"{target.stem}: {target.name} has no source in notebooks/src")
    return found


def missing_assets(miniatures: Path | None = None) -> list[str]:
    """Return what is missing or damaged among the bundled files; one sentence each.

    Parameters
    ----------
    miniatures : Path, optional
        The folder of the bundled models; by default that of the repository.
    """
    from sparsevlm.analysis import published
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
