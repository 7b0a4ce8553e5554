"""A result is due again when code changes that can change it, and only then."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from sparsevlm.evaluation.digests import ANSWER, closure, code_digest
from sparsevlm.evaluation.paths import ROOT
from sparsevlm.evaluation.plan import algorithms, package_digest
from sparsevlm.evaluation.profiles import get_profile

BUILDER = "sparsevlm.models.prompts.llava"


@pytest.fixture
def tree(tmp_path):
    """A copy of the package's sources; each test has its own, for digests are kept by path."""
    shutil.copytree(
        ROOT / "sparsevlm", tmp_path / "sparsevlm", ignore=shutil.ignore_patterns("__p*")
    )
    return tmp_path


def digest(root, *modules):
    code_digest.__globals__["_content_digest"].cache_clear()
    for function in ("closure", "_imports"):
        code_digest.__globals__[function].cache_clear()
    return code_digest((ANSWER, BUILDER, "sparsevlm.methods.fastv", *modules), root)


def edit(root, module, old, new):
    path = root / f"{module.replace('.', '/')}.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("sparsevlm.models.prompts.llava", 'vicuna("user")', 'vicuna("human")'),
        ("sparsevlm.models.images", '.convert("RGB")', '.convert("RGB").transpose(0)'),
        ("sparsevlm.core.scoring", "mean(", "sum("),
        ("sparsevlm.evaluation.answer", '"do_sample": False', '"do_sample": True'),
        ("sparsevlm.methods.fastv", "num_text - 1", "num_text - 2"),
    ],
)
def test_what_can_change_an_answer_makes_it_due(tree, module, old, new):
    before = digest(tree)
    edit(tree, module, old, new)
    assert digest(tree) != before


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("sparsevlm.runtime.timing", "time.thread_time()", "time.perf_counter()"),
        ("sparsevlm.methods.tome", "import torch", "import torch  # another method"),
        ("sparsevlm.analysis.style", "dpi=300", "dpi=200"),
        ("sparsevlm.evaluation.answer", "greedily unless told otherwise", "greedily"),
        ("sparsevlm.core.raters", "\nimport torch\n", "\n# a comment\nimport torch\n"),
    ],
)
def test_timers_drawing_comments_and_other_methods_do_not(tree, module, old, new):
    before = digest(tree)
    edit(tree, module, old, new)
    assert digest(tree) == before


def test_moving_a_file_does_not(tree):
    """Its importers follow, as after a refactoring."""
    before = digest(tree)
    folder = tree / "sparsevlm"
    (folder / "core" / "scoring.py").rename(folder / "core" / "relevance.py")
    for path in folder.rglob("*.py"):
        text = path.read_text()
        path.write_text(text.replace("sparsevlm.core.scoring", "sparsevlm.core.relevance"))
    assert digest(tree) == before


def test_a_new_import_counts_by_itself(tree):
    before = digest(tree)
    path = tree / "sparsevlm" / "core" / "sugar.py"
    path.write_text("SUGAR = 1\n")
    edit(tree, ANSWER, "import torch\n", "import torch\n\nfrom sparsevlm.core import sugar\n")
    with_sugar = digest(tree)
    path.write_text("SUGAR = 2\n")
    assert len({before, with_sugar, digest(tree)}) == 3


def test_a_budget_per_tile_depends_on_the_method_inside():
    methods = ("fastv-per-tile", "random-per-tile")
    profile = replace(get_profile("mini"), benchmarks=("pope",), methods=methods, budgets=(64,))
    assert len(algorithms(profile)) == 3  # with the dense model


def test_an_import_for_type_checking_alone_decides_nothing():
    assert not {m for m in closure(ANSWER) if m.startswith("sparsevlm.models.")}


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(ModuleNotFoundError, match="no module sparsevlm.nosuch"):
        closure("sparsevlm.nosuch")


def test_templates_and_styles_make_notebooks_due(tmp_path):
    package, fresh = tmp_path / "package", package_digest.__wrapped__  # without its cache
    (package / "templates").mkdir(parents=True)
    (package / "one.py").write_text("1")
    found = [fresh(package)]
    for name in ("notes.md.j2", "texts.yaml", "style.mplstyle"):
        (package / "templates" / name).write_text("text")
        found.append(fresh(package))
    (package / "one.pyc").write_text("compiled")
    assert len(set(found)) == 4 and fresh(package) == found[-1]
