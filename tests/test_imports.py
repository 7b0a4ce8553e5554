"""Imports run one way: algorithm -> families, baselines -> benchmarks, miniature -> reproduce."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from sparsevlm.evaluation.paths import ROOT

PACKAGE = ROOT / "sparsevlm"
ALGORITHM = 0
RANKS = {"families": 1, "baselines": 1, "benchmarks": 2, "miniature": 2, "checkpoints": 2,
         "judges": 3, "reproduce": 3, "explorer": 3, "harness": 3}  # fmt: skip
EXEMPT = {"__init__", "__main__"}  # the facade and the command line wire the rooms together
# Reading a picture is no algorithm, but belongs to the facade; pillow is a core dependency.
ALSO = {"images.py": {"PIL"}}
ALGORITHM_MAY_IMPORT = {"torch", "transformers", "jaxtyping", "sparsevlm"} | sys.stdlib_module_names


def modules() -> list[Path]:
    """Every module that has a place in the order."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return [path for path in paths if path.parent != PACKAGE or path.stem not in EXEMPT]


def imported(path: Path, text: str) -> set[str]:
    """Full names of all modules that a file imports, also inside functions."""
    package = [*path.relative_to(ROOT).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def rank_of(name: str) -> int | None:
    """The rank of an imported name; None for the facade."""
    parts = name.split(".")
    if len(parts) > 1 and parts[1] in RANKS:
        return RANKS[parts[1]]
    is_file = len(parts) > 1 and (PACKAGE / f"{parts[1]}.py").exists()
    return ALGORITHM if is_file else None


def violations(path: Path, text: str) -> list[str]:
    """What a module imports and must not."""
    inside = path.relative_to(PACKAGE).parts
    own = RANKS[inside[0]] if len(inside) > 1 else ALGORITHM
    found = []
    for name in sorted(imported(path, text)):
        allowed = ALGORITHM_MAY_IMPORT | ALSO.get(path.name, set())
        if own == ALGORITHM and name.split(".")[0] not in allowed:
            found.append(name)
        elif name.split(".")[0] == "sparsevlm":
            rank = rank_of(name)
            if own < rank if rank is not None else own < RANKS["reproduce"]:
                found.append(name)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_upwards(path):
    assert violations(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "line", "is_allowed"),
    [
        ("prune.py", "import torch", True),
        ("prune.py", "from sparsevlm.runtime.trace import Trace", True),
        ("prune.py", "import numpy as np", False),
        ("prune.py", "from sparsevlm.models import llava", False),
        ("prune.py", "def f():\n    from .baselines import METHODS", False),
        ("baselines/fastv.py", "from sparsevlm.core.schedule import schedule_for", True),
        ("baselines/fastv.py", "from ..benchmarks import BENCHMARKS", False),
        ("baselines/fastv.py", "from sparsevlm import make_pruner", False),
        ("miniature/train.py", "from .recipes import Stage", True),
        ("miniature/train.py", "import sparsevlm.evaluation.results.store", False),
        ("reproduce/cells.py", "from sparsevlm import prune", True),
    ],
)
def test_the_rule_itself(module, line, is_allowed):
    assert (violations(PACKAGE / module, line) == []) is is_allowed


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
from sparsevlm.evaluation.runs import missing_cells
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.store import Store
from sparsevlm.cli.suite import make_plan
plan = make_plan(get_profile("mini"), store=Store({str(tmp_path)!r}))
missing_cells(plan.cells, plan.store), [notebook.is_done() for notebook in plan.notebooks]
print([m for m in {HEAVY} if m in sys.modules])
"""
    run_python(plan)  # the first plan makes the questions, and is kept
    assert run_python(plan) == "[]"
