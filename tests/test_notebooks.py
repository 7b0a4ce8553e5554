"""Notebook sources: in step with the notebooks, within their limits, parameters declared."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from notebook_rules import faults_of

from sparsevlm.paper import notebooks
from sparsevlm.paper.notebooks import (
    Parameter,
    declared_parameters,
    generate,
    known_notebooks,
    source_cells,
    source_path,
    write_notebooks,
)
from sparsevlm.paper.notebooks import notebook_problems as problems

GOOD = """\
# %% [markdown]
# # A notebook

# %% tags=["parameters"]
profile: str = "mini"  # which profile
limit: int = 0
model: str = ""
tokens: int = 64  # how many are kept
methods: list[str] = ["sparsevlm", "fastv"]

# %%
print(profile, tokens)
"""


@pytest.fixture
def sources(tmp_path):
    """A folder of sources with one good notebook, generated."""
    folder = tmp_path / "notebooks" / "src"
    folder.mkdir(parents=True)
    (folder / "good.py").write_text(GOOD)
    write_notebooks(folder)
    return folder


def test_the_notebooks_of_the_repository_have_no_problem():
    assert known_notebooks(), "no notebook was found"
    assert problems() == []
    assert {name: faults_of(source_path(name)) for name in known_notebooks()} == dict.fromkeys(
        known_notebooks(), []
    )


@pytest.mark.parametrize("name", known_notebooks())
def test_committed_notebooks_carry_no_output(name):
    text = (notebooks.NOTEBOOKS / f"{name}.ipynb").read_text()
    cells = json.loads(text)["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)


def test_a_good_notebook_has_no_problem(sources):
    assert problems(sources) == faults_of(sources / "good.py") == []


def test_generation_is_byte_stable_and_keeps_the_parameters_tag(sources):
    first, second = (generate(sources / "good.py") for _ in range(2))
    assert first == second
    tags = [cell["metadata"].get("tags") for cell in json.loads(first)["cells"]]
    assert tags == [None, ["parameters"], None]


def test_an_edited_source_is_out_of_step_until_it_is_generated_again(sources):
    (sources / "good.py").write_text(GOOD.replace("print(profile", "print(profile, 1"))
    (problem,) = problems(sources)
    assert "good.ipynb differs from its source" in problem and "check --fix" in problem
    assert write_notebooks(sources) == [sources.parent / "good.ipynb"]
    assert problems(sources) == [] and write_notebooks(sources) == []


def test_a_saved_executed_notebook_is_in_step_and_an_edited_one_is_not(sources):
    path = sources.parent / "good.ipynb"
    executed = json.loads(path.read_text())
    executed["metadata"]["kernelspec"]["display_name"] = "another"
    executed["cells"][-1]["execution_count"] = 3
    text = {"output_type": "stream", "name": "stdout", "text": ["mini"]}
    executed["cells"][-1]["outputs"] = [text]
    path.write_text(json.dumps(executed))
    assert problems(sources) == []
    executed["cells"][-1]["source"] = ["print(1)"]
    path.write_text(json.dumps(executed))
    assert ["differs" in problem for problem in problems(sources)] == [True]


def test_a_notebook_without_a_source_is_a_problem(sources):
    (sources.parent / "stray.ipynb").write_text("{}")
    assert problems(sources) == ["stray: stray.ipynb has no source in notebooks/src"]


LONG_DEF = "def f():\n" + "    x = 1\n" * 5


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        ("\n# %%\nx = 1\n" * 18, "21 cells, at most 20"),
        ("\n# %%\n" + "x = 1\n" * 13, "cell 4 has 13 lines, at most 12"),
        (("\n# %%\n" + "x = 1\n" * 12) * 7, "90 lines of code, at most 80"),
        (f"\n# %%\n{LONG_DEF}", "`f` is longer than 5 lines"),
        ("\n# %%\n!pip install x\n", "shell and magic commands"),
        ("\n# %%\nopen('/home/me/data')\n", "absolute path"),
    ],
)
def test_a_limit_that_is_passed_is_named(sources, extra, what):
    (sources / "good.py").write_text(GOOD + extra)
    found = faults_of(sources / "good.py")
    assert [fault for fault in found if what in fault], found


@pytest.mark.parametrize("extra", ["\n# %%\nx = 1\n" * 17, f"\n# %%\n{LONG_DEF[:-10]}"])
def test_a_limit_that_is_just_met_is_no_problem(sources, extra):
    (sources / "good.py").write_text(GOOD + extra)
    assert faults_of(sources / "good.py") == []


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (' tags=["parameters"]', "", "exactly one cell"),
        ('profile: str = "mini"', 'other: str = "mini"', "the first parameters must be `profile"),
        ("limit: int = 0\n", "", "`limit: int = 0`"),
        ('model: str = ""', "model: str | None = None", "`model: str = ''`"),
        ("tokens: int = 64", "tokens: int = 'many'", "the default of 'tokens': parameter"),
        ("tokens: int = 64", "tokens: Count = 64", "the default of 'tokens': name 'Count'"),
        ("tokens: int = 64", "tokens = 64", "name: type = literal"),
        ("tokens: int = 64", "tokens: int = len('ab')", "name: type = literal"),
        ("# how many are kept", "# tokens = 64 is usual", "papermill drops"),
    ],
)
def test_a_badly_declared_parameter_is_named(sources, old, new, what):
    (sources / "good.py").write_text(GOOD.replace(old, new))
    found = faults_of(sources / "good.py")
    assert [fault for fault in found if what in fault], found


def test_parameters_are_read_with_their_types_and_defaults(sources):
    assert list(declared_parameters(sources / "good.py").values()) == [
        Parameter("profile", "str", "mini"),
        Parameter("limit", "int", 0),
        Parameter("model", "str", ""),
        Parameter("tokens", "int", 64),
        Parameter("methods", "list[str]", ["sparsevlm", "fastv"]),
    ]


def test_our_split_into_cells_is_that_of_jupytext(sources):
    for source in [sources / "good.py", *(source_path(name) for name in known_notebooks())]:
        theirs = json.loads(generate(source))["cells"]
        ours = source_cells(source.read_text())
        assert [cell.is_code for cell in ours] == [c["cell_type"] == "code" for c in theirs]


def test_an_unknown_notebook_lists_the_known_ones(sources):
    with pytest.raises(ValueError, match="unknown notebook 'bad'; known: good"):
        source_path("bad", sources)


def test_every_name_in_a_notebook_is_defined():
    """The linter's own rule is off for the package, whose annotations name dimensions of arrays."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821"]
    done = subprocess.run([*command, notebooks.SOURCES], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
