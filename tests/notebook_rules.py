"""What the sources of our notebooks keep to: limits, no shell, parameters with types."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from sparsevlm.paper.notebooks import (
    Parameter,
    declared_parameters,
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


def faults_of(source: Path) -> list[str]:
    """Return what is wrong with a source; one sentence each."""
    return _limit_faults(source.read_text(encoding="utf-8")) + _parameter_faults(source)


def _limit_faults(text: str) -> list[str]:
    faults = []
    cells = source_cells(text)
    code = [cell for cell in cells if cell.is_code]
    if len(cells) > MAX_CELLS:
        faults.append(f"{len(cells)} cells, at most {MAX_CELLS}")
    total = sum(_code_lines(cell.text) for cell in code)
    if total > MAX_CODE_LINES:
        faults.append(f"{total} lines of code, at most {MAX_CODE_LINES}; move code to the package")
    for number, cell in enumerate(cells, start=1):
        if not cell.is_code:
            continue
        if _code_lines(cell.text) > MAX_CELL_LINES:
            faults.append(
                f"cell {number} has {_code_lines(cell.text)} lines, at most {MAX_CELL_LINES}"
            )
        faults += [f"cell {number}: {fault}" for fault in _code_faults(cell.text)]
    return faults


def _code_lines(text: str) -> int:
    """Lines that are neither blank nor only a comment."""
    lines = (line.strip() for line in text.splitlines())
    return sum(1 for line in lines if line and not line.startswith("#"))


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
