"""Notebooks run strictly: a whole result or none, and nothing twice."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sparsevlm.reproduce.runner import NotebookError, NotebookRun, execute, prepare

SOURCE = """\
# %% tags=["parameters"]
profile: str = "mini"
number: int = 1

# %%
from pathlib import Path

Path("{figures}").mkdir(exist_ok=True)
_ = Path("{figures}/probe.svg").write_text("<svg/>")

# %%
print("one over it is", 1 / number)
"""


@pytest.fixture
def run(tmp_path):
    """A notebook that writes a figure, then divides one by its parameter."""
    figures = tmp_path / "figures"
    source = tmp_path / "probe.py"
    source.write_text(SOURCE.format(figures=figures))
    parameters = {"profile": "mini", "number": 4}
    return NotebookRun("probe", parameters, ("cell-a",), source, tmp_path / "artifacts", figures)


def files(run: NotebookRun) -> list[str]:
    folder = run.output("").parent
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_run_leaves_notebook_html_and_stamp_and_is_not_run_again(run):
    assert not run.is_done()
    final = execute(run)
    assert files(run) == ["probe.html", "probe.ipynb", "probe.stamp.json"]
    assert "one over it is 0.25" in final.read_text()
    assert "one over it is 0.25" in run.output(".html").read_text()
    assert run.is_done()

    # Everything that the result depends on makes it due again.
    assert not replace(run, parameters={**run.parameters, "number": 5}).is_done()
    assert not replace(run, records=("cell-a", "cell-b")).is_done()
    run.source.write_text(run.source.read_text() + "\n# a change\n")
    assert not run.is_done()


def test_a_lost_output_makes_it_due_again(run):
    execute(run)
    figure = run.figures / "probe.svg"
    assert str(figure) in json.loads(run.output(".stamp.json").read_text())["outputs"]
    figure.unlink()
    assert not run.is_done()


def test_a_failing_cell_leaves_no_finished_notebook(run):
    with pytest.raises(NotebookError, match="ZeroDivisionError: division by zero") as caught:
        execute(replace(run, parameters={"profile": "mini", "number": 0}))
    assert files(run) == ["probe.partial.ipynb"]
    assert "In [4]" in str(caught.value) and "probe.partial.ipynb" in str(caught.value)
    assert "ZeroDivisionError" in run.output(".partial.ipynb").read_text()


def test_a_failure_after_a_success_is_not_taken_for_done(run):
    execute(run)
    broken = replace(run, parameters={"profile": "mini", "number": 0})
    with pytest.raises(NotebookError):
        execute(broken)
    assert not run.is_done() and not broken.is_done()


def test_a_kernel_that_dies_is_a_sentence(run):
    run.source.write_text(run.source.read_text() + "\n# %%\nimport os\n\nos._exit(1)\n")
    with pytest.raises(NotebookError, match="probe: its kernel died"):
        execute(run)
    assert "probe.ipynb" not in files(run)


def test_a_damaged_stamp_means_due(run):
    run.output("").parent.mkdir(parents=True)
    run.output(".stamp.json").write_text('{"inputs": ')
    assert not run.is_done()


def test_nothing_runs_for_an_unknown_notebook():
    with pytest.raises(ValueError, match="unknown notebook 'no_such'; known: "):
        prepare("no_such", {})
