"""The rules of the house: the order of packages, their sizes, one place that generates."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from import_graph import FILES, ORDER, PACKAGE, ROOT, drawn, graph, imports_in, name_of, package_of

FACADE = {"sparsevlm", "sparsevlm.__main__"}  # they wire the packages together
CORE_MAY_IMPORT = {"torch", "jaxtyping", *sys.stdlib_module_names}


def upward(module: str, imported: set[str]) -> list[str]:
    """What a module imports from packages that come after its own."""
    own = ORDER.index(package_of(module))
    return sorted(
        name for name in imported
        if name in FACADE or (name in FILES and ORDER.index(package_of(name)) > own)
    )  # fmt: skip


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


@pytest.mark.parametrize("module", sorted(set(FILES) - FACADE))
def test_no_module_imports_from_a_later_package(module):
    assert upward(module, graph()[module]) == []


def test_no_modules_import_each_other():
    assert circles(graph()) == []


def test_the_core_imports_torch_and_the_standard_library_only():
    for name, path in FILES.items():
        if package_of(name) == "core":
            for other in imports_in(name, path.read_text("utf-8"), path.stem == "__init__"):
                known = other.split(".")[0] in CORE_MAY_IMPORT or package_of(other) == "core"
                assert known, f"{name} imports {other}"


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("sparsevlm.runtime.prune", "import torch", []),
        ("sparsevlm.runtime.prune", "from sparsevlm.core import raters", []),
        (
            "sparsevlm.runtime.prune",
            "def f():\n    from sparsevlm.methods import fastv",
            ["sparsevlm.methods.fastv"],
        ),
        (
            "sparsevlm.methods.fastv",
            "if TYPE_CHECKING:\n    from ..benchmarks import registry",
            ["sparsevlm.benchmarks.registry"],
        ),
        ("sparsevlm.methods.fastv", "from sparsevlm import make_pruner", ["sparsevlm"]),
    ],
)
def test_the_rule_of_order_itself(module, line, found):
    assert upward(module, imports_in(module, line)) == found


def test_the_rule_of_circles_itself():
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}
    assert circles(edges) == [["a", "b", "c"]]


def test_the_picture_of_the_packages_is_true():
    committed = (ROOT / "docs" / "architecture.svg").read_text("utf-8")
    assert committed == drawn(), "draw it again: python tests/import_graph.py"


# --- Sizes -------------------------------------------------------------------------------------


def test_no_folder_holds_more_than_fifteen_modules():
    full = {}
    for folder in {path.parent for path in FILES.values()} - {PACKAGE}:
        modules = [p.stem for p in folder.glob("*.py") if p.stem != "__init__"]
        if len(modules) > 15:
            full[str(folder.relative_to(ROOT))] = len(modules)
    assert not full, f"split or merge: {full}"


def test_the_package_has_at_most_three_levels():
    deep = [name for name in FILES if len(name.split(".")) > 4]
    assert not deep


def test_no_module_is_longer_than_300_lines():
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in FILES.items()}
    assert not {name: count for name, count in lines.items() if count > 300}


def test_the_core_stays_small():
    core = [path for name, path in FILES.items() if package_of(name) == "core"]
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in core)
    assert len(core) <= 10 and lines <= 1700, f"{len(core)} files, {lines} lines"


# --- Imports cost nothing ----------------------------------------------------------------------


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


HEAVY = "torch", "transformers", "papermill", "matplotlib", "pandas", "nbconvert"


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, sparsevlm; print([m for m in {HEAVY} if m in sys.modules])"
    assert run_python(code) == "[]"


def test_finding_out_that_all_is_done_loads_nothing_heavy(tmp_path):
    plan = f"""
import sys
from sparsevlm.evaluation.runs import missing_runs
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.store import Store
from sparsevlm.cli.suite import make_plan
plan = make_plan(get_profile("mini"), store=Store({str(tmp_path)!r}))
missing_runs(plan.runs, plan.store), [notebook.is_done() for notebook in plan.notebooks]
print([m for m in {HEAVY} if m in sys.modules])
"""
    run_python(plan)  # the first plan makes the questions, and is kept
    assert run_python(plan) == "[]"


# --- One road, and nothing that nobody takes ----------------------------------------------------

# `answer` prunes and generates; the bench times the parts of it.
MAY_GENERATE = ("sparsevlm.evaluation.answer", "sparsevlm.speed.")


def calls_of(method: str, text: str) -> list[int]:
    """Lines that call a method of this name."""
    return [
        node.lineno for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == method
    ]  # fmt: skip


@pytest.mark.parametrize("folder", ["sparsevlm", "training", "notebooks/src"])
def test_only_one_place_generates(folder):
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        if not name_of(path).startswith(MAY_GENERATE):
            found[str(path.relative_to(ROOT))] = calls_of("generate", path.read_text("utf-8"))
    found = {path: lines for path, lines in found.items() if lines}
    assert not found, f"ask through evaluation.answer.answer: {found}"


def public_names(tree: ast.Module) -> set[str]:
    """Functions and classes that a module offers; what a decorator registers is used by it."""
    return {
        node.name for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        and not any("command" in ast.unparse(d) for d in node.decorator_list)
    }  # fmt: skip


def words_of(path: Path) -> Counter:
    text = path.read_text("utf-8")
    return Counter(re.findall(r"[A-Za-z_]\w*", text))


def test_every_public_name_is_used_outside_the_tests():
    users = [*FILES.values(), *(ROOT / "training").rglob("*.py"), ROOT / "pyproject.toml"]
    users += [
        ROOT / "data" / "claims.csv",
        *(ROOT / "notebooks" / "src").glob("*.py"),
        *(ROOT / "sparsevlm").rglob("*.j2"),
    ]
    used = sum(map(words_of, users), Counter())
    # Names in docstrings and comments count as uses; that forgives a few and finds the rest.
    idle = {
        f"{module}.{name}"
        for module, path in FILES.items()
        for name in public_names(ast.parse(path.read_text("utf-8")))
        if used[name] < 2
    }
    assert not idle, f"use it, or move it to where it is used: {sorted(idle)}"


def test_no_class_name_stands_for_two_things():
    homes: dict[str, list[str]] = {}
    for module, path in FILES.items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    assert not {name: where for name, where in homes.items() if len(where) > 1}
