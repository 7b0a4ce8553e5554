"""What a result depends on, computed from the code: the digest that makes its id.

A result has to be computed again only when code changes that can change it. That code is the import
closure of `evaluation/answer.py`, of the pruner's class, of the model's prompt builder and adapter,
and of the benchmark's scorer. It is read from the source, so a new import counts by itself. File
names, import lines, comments and docstrings do not count: moving a file changes no id.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from sparsevlm.evaluation.paths import ROOT

ANSWER = "sparsevlm.evaluation.answer"
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_digest(modules: Iterable[str], root: Path = ROOT) -> str:
    """Return the digest of everything that some modules import, themselves included."""
    reached = frozenset().union(*(closure(module, root) for module in modules))
    contents = sorted(_content_digest(_path_of(module, root)) for module in reached)
    return hashlib.sha256("\n".join(contents).encode()).hexdigest()[:16]


@cache
def closure(module: str, root: Path = ROOT) -> frozenset[str]:
    """Return the modules of this package that a module imports, directly or not, with itself.

    Imports inside functions count; those for type checking alone do not.

    Raises
    ------
    ModuleNotFoundError
        There is no such module under `root`.
    """
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        path = _path_of(name, root)
        if path is None:
            raise ModuleNotFoundError(f"no module {name} under {root}")
        seen.add(name)
        todo += _imports(name, path, root)
    return frozenset(seen)


@cache
def _path_of(module: str, root: Path) -> Path | None:
    place = root.joinpath(*module.split("."))
    candidates = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@cache
def _imports(module: str, path: Path, root: Path) -> tuple[str, ...]:
    package = module.partition(".")[0]
    found: list[str] = []
    for node in _running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        inside = (name for name in names if name.split(".")[0] == package and "." in name)
        found += [name for name in inside if _path_of(name, root) is not None]
    return tuple(dict.fromkeys(found))


def _running(tree: ast.AST) -> Iterable[ast.AST]:
    """Every node but those below ``if TYPE_CHECKING:``."""
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        is_check = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        todo += node.orelse if is_check else ast.iter_child_nodes(node)


@cache
def _content_digest(path: Path) -> str:
    """Digest of what a file does: its syntax tree without imports and docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
                body = body[1:]
            body = [part for part in body if not isinstance(part, ast.Import | ast.ImportFrom)]
            node.body = body or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
