"""Notebooks as files: their sources, the parameters they declare, their limits, generation.

A notebook is written as `notebooks/src/NAME.py` (py:percent) and generated from it, stripped, as
`notebooks/NAME.ipynb`. Running one is `sparsevlm.cli.runner`.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from sparsevlm.evaluation.paths import NOTEBOOKS
from sparsevlm.evaluation.results.atomic import write_text

SOURCES = NOTEBOOKS / "src"
MAX_CELLS = 20
MAX_CODE_LINES = 80
MAX_CELL_LINES = 12
MAX_DEF_LINES = 5
_MARK = re.compile(r"^# %%(?P<head>.*)$", re.MULTILINE)
_PARAMETERS_TAG = 'tags=["parameters"]'


@dataclass(frozen=True)
class SourceCell:
    """One cell of a py:percent source: its marker line after `# %%`, and its text."""

    head: str
    text: str

    @property
    def is_code(self) -> bool:
        """Whether the cell is code, not Markdown."""
        return "[markdown]" not in self.head

    @property
    def code_lines(self) -> int:
        """Lines that are neither blank nor only a comment."""
        lines = (line.strip() for line in self.text.splitlines())
        return sum(1 for line in lines if line and not line.startswith("#"))


@dataclass(frozen=True)
class Parameter:
    """One parameter that a notebook declares, as in `tokens: int = 64  # what it is`."""

    name: str
    annotation: str
    default: object


def known_notebooks(sources: Path = SOURCES) -> list[str]:
    """Return the names of all notebooks, in alphabetical order."""
    return sorted(path.stem for path in sources.glob("*.py"))


def source_path(name: str, sources: Path = SOURCES) -> Path:
    """Return the source of a notebook, or raise `ValueError` listing the known ones."""
    known = known_notebooks(sources)
    if name not in known:
        raise ValueError(f"unknown notebook {name!r}; known: {', '.join(known) or 'none'}")
    return sources / f"{name}.py"


def source_cells(text: str) -> list[SourceCell]:
    """Split a py:percent source into its cells; what stands before the first is left out."""
    marks = list(_MARK.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [
        SourceCell(mark["head"].strip(), text[mark.end() : end].strip("\n"))
        for mark, end in zip(marks, ends, strict=True)
    ]


def _parameters_cell(text: str) -> SourceCell:
    cells = [cell for cell in source_cells(text) if _PARAMETERS_TAG in cell.head]
    if len(cells) != 1:
        raise ValueError(
            f"a notebook needs exactly one cell marked `# %% {_PARAMETERS_TAG}`, found {len(cells)}"
        )
    return cells[0]


def declared_parameters(source: Path) -> dict[str, Parameter]:
    """Return the parameters that a notebook declares, in order.

    Parameters
    ----------
    source : Path
        The py:percent file. Its parameters cell holds only annotated literals.

    Raises
    ------
    ValueError
        If the cell is missing, or holds anything else.
    """
    cell = _parameters_cell(source.read_text(encoding="utf-8"))
    declared = {}
    for node in ast.parse(cell.text).body:
        try:
            name, annotation = node.target.id, ast.unparse(node.annotation)
            default = ast.literal_eval(node.value)
        except (AttributeError, ValueError):
            raise ValueError(
                f"{source.name}: a parameter is written `name: type = literal`, "
                f"got `{ast.unparse(node)}`"
            ) from None
        declared[name] = Parameter(name, annotation, default)
    return declared


def generate(source: Path) -> str:
    """Return the stripped notebook of a source, as the text of its `.ipynb`; byte-stable."""
    import jupytext
    import nbformat
    from nbstripout import strip_output

    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    # jupytext draws random cell ids; stripping renumbers them.
    stripped = strip_output(notebook, keep_output=False, keep_count=False, keep_id=False)
    return nbformat.writes(stripped) + "\n"


def write_notebooks(sources: Path = SOURCES) -> list[Path]:
    """Generate every notebook that differs from its source; return the files written."""
    written = []
    for name in known_notebooks(sources):
        target, text = sources.parent / f"{name}.ipynb", generate(sources / f"{name}.py")
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            write_text(target, text)
            written.append(target)
    return written


def problems(sources: Path = SOURCES) -> list[str]:
    """Return what is wrong with the notebooks: sync, limits, parameters; one sentence each."""
    found = []
    for name in known_notebooks(sources):
        source, target = sources / f"{name}.py", sources.parent / f"{name}.ipynb"
        text = source.read_text(encoding="utf-8")
        found += [f"{name}: {fault}" for fault in _limit_faults(text) + _parameter_faults(source)]
        if not target.exists() or target.read_text(encoding="utf-8") != generate(source):
            found.append(
                f"{name}: {target.name} differs from its source; "
                "run `python -m sparsevlm check --fix`"
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
    first = next(iter(declared.values()), None)
    if first is None or (first.name, first.annotation) != ("profile", "str"):
        faults.append("the first parameter must be `profile: str`")
    for line in _parameters_cell(source.read_text(encoding="utf-8")).text.splitlines():
        _, _, comment = line.partition("#")
        if "=" in comment:
            faults.append(f"papermill drops a parameter whose comment holds '=': {line.strip()}")
    return faults
