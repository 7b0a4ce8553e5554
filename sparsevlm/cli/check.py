"""Checks of the repository: notebooks within limits and generated, bundled files undamaged."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from sparsevlm.paper.notebooks import (
    SOURCES,
    Parameter,
    declared_parameters,
    is_current,
    known_notebooks,
    parameters_cell,
    source_cells,
)
from sparsevlm.paper.parameters import of_type

MAX_CELLS = 20
MAX_CODE_LINES = 80
MAX_CELL_LINES = 12
MAX_DEF_LINES = 5
# Every notebook has these, in this order, before its own.
COMMON = (
    Parameter("profile", "str", "mini"),
    Parameter("limit", "int", 0),
    Parameter("model", "str", ""),
)


def notebook_problems(sources: Path = SOURCES) -> list[str]:
    """Return what is wrong with the notebooks: sync, limits, parameters; one sentence each."""
    found = []
    for name in known_notebooks(sources):
        source, target = sources / f"{name}.py", sources.parent / f"{name}.ipynb"
        text = source.read_text(encoding="utf-8")
        found += [f"{name}: {fault}" for fault in _limit_faults(text) + _parameter_faults(source)]
        if not is_current(target, source):
            found.append(
                f"{name}: {target.name} differs from its source; run `sparsevlm check --fix`"
            )
    for target in sorted(sources.parent.glob("*.ipynb")):
        if target.stem not in known_notebooks(sources) and ".partial" not in target.name:
            found.append(f"{target.stem}: {target.name} has no source in notebooks/src")
    return found


def _limit_faults(text: str) -> list[str]:
    faults = []
    cells = source_cells(text)
    code = [cell for cell in cells if cell.is_code]
    if len(cells) > MAX_CELLS:
        faults.append(f"{len(cells)} cells, at most {MAX_CELLS}")
    total = sum(cell.code_lines for cell in code)
    if total > MAX_CODE_LINES:
        faults.append(f"{total} lines of code, at most {MAX_CODE_LINES}; move code to the package")
    for number, cell in enumerate(cells, start=1):
        if not cell.is_code:
            continue
        if cell.code_lines > MAX_CELL_LINES:
            faults.append(f"cell {number} has {cell.code_lines} lines, at most {MAX_CELL_LINES}")
        faults += [f"cell {number}: {fault}" for fault in _code_faults(cell.text)]
    return faults


def _code_faults(text: str) -> list[str]:
    faults = []
    if re.search(r"^\s*[!%]", text, re.MULTILINE):
        return ["shell and magic commands are not allowed"]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= MAX_DEF_LINES:
            faults.append(f"`{node.name}` is longer than {MAX_DEF_LINES} lines")
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.match(r"(/(home|root|Users|tmp|work)/|[A-Z]:\\)", node.value):
                faults.append(f"absolute path {node.value!r}")
    return faults


def _parameter_faults(source: Path) -> list[str]:
    try:
        declared = declared_parameters(source)
    except ValueError as error:
        return [str(error)]
    faults = []
    if tuple(declared.values())[: len(COMMON)] != COMMON:
        common = ", ".join(f"`{p.name}: {p.annotation} = {p.default!r}`" for p in COMMON)
        faults.append(f"the first parameters must be {common}")
    for parameter in declared.values():
        try:
            of_type(parameter.default, parameter)
        except (ValueError, NameError, SyntaxError, TypeError) as error:
            faults.append(f"the default of {parameter.name!r}: {error}")
    for line in parameters_cell(source.read_text(encoding="utf-8")).text.splitlines():
        _, _, comment = line.partition("#")
        if "=" in comment:
            faults.append(f"papermill drops a parameter whose comment holds '=': {line.strip()}")
    return faults


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
