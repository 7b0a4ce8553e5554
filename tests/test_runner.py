"""Notebooks run strictly: a whole result or none, nothing twice, and a failure stops no other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from sparsevlm.cli import suite
from sparsevlm.cli.runner import NotebookError, NotebookRun, execute
from sparsevlm.evaluation.paths import ROOT
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.runs import EvaluationRun, RunError
from sparsevlm.paper import page as pages
from sparsevlm.paper.page import Page

MINI = get_profile("mini")
SOURCE = """\
# %% tags=["parameters"]
profile: str = "mini"
number: int = 1

# %%
from pathlib import Path

Path("{figures}").mkdir(exist_ok=True, parents=True)
_ = Path("{figures}/probe.svg").write_text("<svg/>")

# %%
print("one over it is", 1 / number)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A notebook that writes a figure, then divides one by its parameter."""
    monkeypatch.setattr(pages, "FIGURES", tmp_path / "figures")
    (tmp_path / "probe.py").write_text(SOURCE.format(figures=tmp_path / "figures" / "mini"))
    return NotebookRun(page_with(4), ("run-a",), tmp_path, tmp_path / "artifacts")


def page_with(number: int, name: str = "probe") -> Page:
    return Page(name, MINI, {"profile": "mini", "number": number}, {})


def files(run: NotebookRun) -> list[str]:
    folder = run.output("").parent
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_run_leaves_notebook_html_and_stamp_and_is_not_run_again(run):
    assert not run.is_done()
    assert execute(run) > 0
    final = run.output(".ipynb")
    assert files(run) == ["probe.html", "probe.ipynb", "probe.stamp.json"]
    assert "one over it is 0.25" in final.read_text()
    assert "one over it is 0.25" in run.output(".html").read_text()
    assert run.is_done()

    # Everything that the result depends on makes it due again.
    assert not replace(run, page=page_with(5)).is_done()
    assert not replace(run, records=("run-a", "run-b")).is_done()
    assert not replace(run, verdicts=(run.source,)).is_done()
    run.source.write_text(run.source.read_text() + "\n# a change\n")
    assert not run.is_done()


def test_a_lost_output_makes_it_due_again(run):
    execute(run)
    figure = run.page.folder / "probe.svg"
    assert str(figure) in json.loads(run.output(".stamp.json").read_text())["outputs"]
    figure.unlink()
    assert not run.is_done()


def test_a_failing_cell_leaves_no_finished_notebook(run):
    with pytest.raises(NotebookError, match="ZeroDivisionError: division by zero") as caught:
        execute(replace(run, page=page_with(0)))
    assert files(run) == ["probe.partial.ipynb"]
    assert "In [4]" in str(caught.value) and "probe.partial.ipynb" in str(caught.value)
    assert "ZeroDivisionError" in run.output(".partial.ipynb").read_text()


def test_a_failure_after_a_success_is_not_taken_for_done(run):
    execute(run)
    broken = replace(run, page=page_with(0))
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


def test_a_run_with_other_parameters_has_files_of_its_own(run):
    other = replace(run, page=replace(page_with(5), changed={"number": 5}))
    execute(run)
    assert other.output(".ipynb").name == "probe_number-5.ipynb" and not other.is_done()
    execute(other)
    assert run.is_done() and other.is_done()


def test_nothing_runs_for_an_unknown_notebook():
    with pytest.raises(ValueError, match="unknown notebook 'no_such'; known: "):
        suite.make_plan(MINI, ["no_such"])


# --- Many of them ------------------------------------------------------------------------------


def planned(number: int) -> EvaluationRun:
    return EvaluationRun(
        model="m", revision="r", benchmark=f"b{number}", samples="v", num_samples=1, seed=0,
        method="dense", tokens=None, pruner="{}", dtype="float32", attention="sdpa", batch=1,
    )  # fmt: skip


RUNS = tuple(planned(number) for number in range(7))


def run_with(monkeypatch, tmp_path, execute):
    """Run a plan of all runs and two notebooks, one of which reads one run."""
    monkeypatch.setattr(suite, "execute_runs", execute)
    monkeypatch.setattr(suite, "_execute_all", lambda *a: None)
    pages = (Page(name, MINI, {"profile": "mini"}, {}) for name in ("reads", "asks"))
    notebooks = [NotebookRun(page, records, tmp_path, tmp_path) for page, records in
                 zip(pages, ((RUNS[1].id,), ()), strict=True)]  # fmt: skip
    for notebook in notebooks:
        notebook.source.write_text("")
    return suite.run_plan(suite.Plan(MINI, RUNS, tuple(notebooks), Store(tmp_path)), jobs=2)


def test_all_missing_runs_are_run_in_one_pool_before_the_notebooks(monkeypatch, tmp_path):
    asked = []

    def execute(runs, store, jobs, backend):
        asked.append((runs, jobs))
        return {"run b1, dense": "KeyError: b1"}

    outcome = run_with(monkeypatch, tmp_path, execute)
    assert asked == [(RUNS, 2)]
    assert list(outcome.failed) == ["run b1, dense", "reads"]
    assert "1 of its 1 results are missing (the first: b1, dense)" in outcome.failed["reads"]


def test_what_concerns_all_runs_is_one_failure(monkeypatch, tmp_path):
    def execute(*args, **how):
        raise RunError("the disk is full")

    outcome = run_with(monkeypatch, tmp_path, execute)
    assert outcome.failed["7 of 7 runs"] == "the disk is full" and "reads" in outcome.failed


def test_shards_are_all_runs_once_and_no_notebook(run):
    whole = suite.Plan(MINI, RUNS, (run,), None)
    parts = [suite.shard(whole, part, 3) for part in (1, 2, 3)]
    assert sorted(one.benchmark for part in parts for one in part.runs) == [
        one.benchmark for one in RUNS
    ]
    assert {len(part.runs) for part in parts} == {2, 3}
    assert all(part.notebooks == () for part in parts)


def test_a_notebook_that_fails_stops_no_other(run, tmp_path, capsys):
    bad = replace(run, page=page_with(0, "bad"), records=())
    good = replace(run, records=())
    lacking = replace(run, page=page_with(4, "lacking"), records=tuple(one.id for one in RUNS))
    shutil.copy(run.source, bad.source)
    shutil.copy(run.source, lacking.source)
    plan = suite.Plan(MINI, RUNS, (bad, lacking, good), Store(tmp_path / "store"))
    outcome = suite.run_plan(plan, jobs=1, runs=False)
    said = capsys.readouterr().out.splitlines()
    assert outcome.executed == ["probe"] and good.is_done()
    assert set(outcome.failed) == {"bad", "lacking"}
    assert "division by zero" in outcome.failed["bad"]
    assert (
        "not run, 7 of its 7 results are missing (the first: b0, dense)"
        in (outcome.failed["lacking"])
    )
    assert said[0] == "bad: failed" and said[1].startswith("probe: ") and said[1].endswith(" s")

    again = suite.run_plan(replace(plan, notebooks=(good,)), jobs=1, runs=False)
    assert (again.executed, again.current, again.failed) == ([], ["probe"], {})


MEETING = """\
# %% tags=["parameters"]
profile: str = "mini"
number: int = 1

# %%
import os, time
from pathlib import Path

here, there = Path("{folder}/came{number}"), Path("{folder}/came{other}")
here.touch()
for _ in range(600):
    if there.exists():
        break
    time.sleep(0.1)
else:
    raise RuntimeError("the other notebook never came")
print("threads:", os.environ["OMP_NUM_THREADS"])
"""


def test_two_jobs_are_two_notebooks_at_a_time_and_one_that_fails_stops_no_other(
    run, tmp_path, capsys
):
    pair = []
    for number, other in ((1, 2), (2, 1)):
        pair.append(replace(run, page=page_with(number, f"meeting{number}"), records=()))
        pair[-1].source.write_text(MEETING.format(folder=tmp_path, number=number, other=other))
    bad = replace(run, page=page_with(0, "bad"), records=())
    shutil.copy(run.source, bad.source)
    plan = suite.Plan(MINI, (), (*pair, bad), Store(tmp_path / "store"))
    outcome = suite.run_plan(plan, jobs=2, runs=False)
    said = capsys.readouterr().out.splitlines()
    assert sorted(outcome.executed) == ["meeting1", "meeting2"]
    assert "division by zero" in outcome.failed["bad"] and len(said) == 3
    threads = max(1, (os.cpu_count() or 1) // 2)
    assert f"threads: {threads}" in pair[0].output(".ipynb").read_text()


STOPPED = """
import sys
from pathlib import Path
from sparsevlm.cli import base
from sparsevlm.cli.app import main
from sparsevlm.cli.suite import Plan
from sparsevlm.cli.runner import NotebookRun
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.paper.page import Page

def plan(*asked):
    folder, mini = Path(sys.argv[1]), get_profile("mini")
    runs = [NotebookRun(Page(name, mini, {"profile": "mini"}, {}), (), folder, folder)
            for name in ("first", "second")]
    return Plan(mini, (), tuple(runs), None)

if __name__ == "__main__":
    base.plan_of = plan  # the rest is the command's own
    sys.exit(main(["run"]))
"""
SLOW = """\
# %% tags=["parameters"]
profile: str = "mini"

# %%
import time
from pathlib import Path

Path("{folder}/came_{name}").touch()
time.sleep(120)
"""


def test_ctrl_c_stops_at_once_and_starts_no_other(tmp_path):
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text(SLOW.format(folder=tmp_path, name=name))
    program = tmp_path / "program.py"
    program.write_text(STOPPED)
    running = subprocess.Popen(
        [sys.executable, str(program), str(tmp_path)], cwd=ROOT, text=True, start_new_session=True,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        for _ in range(1200):
            if (tmp_path / "came_first").exists():
                break
            time.sleep(0.1)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        _, said = running.communicate(timeout=60)
    finally:
        running.kill()
    lines = [line for line in said.splitlines() if line and "notebooks/s" not in line]
    assert lines == ["sparsevlm: stopped; what is finished is kept, the same command goes on"]
    assert running.returncode == 130
    assert not (tmp_path / "came_second").exists()
