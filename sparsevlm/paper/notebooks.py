"""Notebooks as files: their sources, the parameters they declare, generation.

A notebook is written as `notebooks/src/NAME.py` (py:percent) and generated from it, stripped, as
`notebooks/NAME.ipynb`. What it starts with is page.py; running one is `sparsevlm.cli.runner`.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from sparsevlm.evaluation.paths import NOTEBOOKS
from sparsevlm.evaluation.studies import belongs
from sparsevlm.models.atomic import write_text

SOURCES = NOTEBOOKS / "src"
_MARK = re.compile(r"^# %%(?P<head>.*)$", re.MULTILINE)
PARAMETERS_TAG = 'tags=["parameters"]'


@dataclass(frozen=True)
class SourceCell:
    """One cell of a py:percent source: its marker line after `# %%`, and its text."""

    head: str
    text: str

    @property
    def is_code(self) -> bool:
        """Whether the cell is code, not Markdown."""
        return "[markdown]" not in self.head


@dataclass(frozen=True)
class Parameter:
    """One parameter that a notebook declares, as in `tokens: int = 64  # what it is`."""

    name: str
    annotation: str
    default: object


def known_notebooks(sources: Path = SOURCES) -> list[str]:
    """Return the names of all notebooks, in alphabetical order."""
    return sorted(path.stem for path in sources.glob("*.py"))


def notebooks_of(profile: str) -> list[str]:
    """Return the names of the notebooks that can be run with a profile."""
    return [name for name in known_notebooks() if belongs(name, profile)]


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


def parameters_cell(text: str) -> SourceCell:
    """Return the cell that declares the parameters; ValueError unless there is exactly one."""
    cells = [cell for cell in source_cells(text) if PARAMETERS_TAG in cell.head]
    if len(cells) != 1:
        raise ValueError(
            f"a notebook needs exactly one cell marked `# %% {PARAMETERS_TAG}`, found {len(cells)}"
        )
    return cells[0]


def declared_parameters(source: Path) -> dict[str, Parameter]:
    """Return the parameters that a notebook declares, in order.

    Raises
    ------
    ValueError
        The parameters cell is missing, or holds anything but annotated literals.
    """
    cell = parameters_cell(source.read_text(encoding="utf-8"))
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

    return _stripped(jupytext.read(source, fmt="py:percent"))


def is_current(target: Path, source: Path) -> bool:
    """Whether a notebook is that of its source, executed or not."""
    import nbformat

    try:
        found = nbformat.read(target, as_version=4)
    except (OSError, nbformat.reader.NotJSONError, nbformat.ValidationError):
        return False
    return _stripped(found) == generate(source)


def _stripped(notebook) -> str:
    """Return the text of a notebook without outputs, counts and what an editor notes."""
    import nbformat
    from nbstripout import strip_output

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
