"""Notebooks run strictly: a whole result or none, nothing twice, and a failure stops no other."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from sparsevlm.cli import suite
from sparsevlm.cli.runner import NotebookError, NotebookRun, execute, prepare
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.runs import EvaluationRun, RunError

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
    return NotebookRun("probe", parameters, ("run-a",), source, tmp_path / "artifacts", figures)


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
    assert not replace(run, records=("run-a", "run-b")).is_done()
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


# --- Many of them ------------------------------------------------------------------------------


def planned(number: int) -> EvaluationRun:
    return EvaluationRun(
        model="m", revision="r", benchmark=f"b{number}", samples="v", num_samples=1, seed=0,
        method="dense", tokens=None, pruner="{}", dtype="float32", attention="sdpa", batch=1,
    )  # fmt: skip


CELLS = tuple(planned(number) for number in range(7))


class Pool:
    """In place of the worker processes: in order, and over at the first that fails."""

    def __init__(self, bad=(), error=RuntimeError):
        self.bad, self.error, self.starts, self.asked = bad, error, 0, []

    def __call__(self, runs, store, jobs, progress):
        self.starts += 1
        for one in runs:
            self.asked.append(one.benchmark)
            if one.benchmark in self.bad:
                raise self.error(f"a worker process failed:\nTraceback\nKeyError: {one.benchmark}")
            with store.writing(one, ["s"]) as writer:
                writer.append([{"id": "s"}])
                writer.finish({"score": 1.0})


def run_apart(monkeypatch, tmp_path, pool, jobs=2):
    monkeypatch.setattr(suite, "execute_runs", pool)
    store = Store(tmp_path)
    failed = suite.execute_runs_apart(CELLS, store, jobs)
    return failed, [one.benchmark for one in CELLS if store.has(one)]


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_cells_that_fail_stop_no_other(monkeypatch, tmp_path, jobs):
    failed, done = run_apart(monkeypatch, tmp_path, Pool(bad=("b1", "b6")), jobs)
    assert failed == {"run b1, dense": "KeyError: b1", "run b6, dense": "KeyError: b6"}
    assert done == ["b0", "b2", "b3", "b4", "b5"]


def test_cells_without_a_failure_start_one_pool(monkeypatch, tmp_path):
    pool = Pool()
    assert run_apart(monkeypatch, tmp_path, pool) == ({}, [one.benchmark for one in CELLS])
    assert pool.starts == 1
    assert run_apart(monkeypatch, tmp_path, pool)[0] == {} and pool.starts == 1, "nothing twice"


def test_what_concerns_all_cells_ends_them(monkeypatch, tmp_path):
    pool = Pool(bad=("b2",), error=RunError)
    failed, done = run_apart(monkeypatch, tmp_path, pool)
    assert list(failed) == ["5 of 7 runs"] and done == ["b0", "b1"] and pool.starts == 1


def test_parts_are_all_cells_once_and_no_notebook(run):
    whole = suite.Plan(get_profile("mini"), CELLS, (run,), None)
    parts = [suite.shard(whole, part, 3) for part in (1, 2, 3)]
    assert sorted(one.benchmark for part in parts for one in part.runs) == [
        one.benchmark for one in CELLS
    ]
    assert {len(part.runs) for part in parts} == {2, 3}
    assert all(part.notebooks == () for part in parts)
    for part, count in ((0, 3), (4, 3)):
        with pytest.raises(ValueError, match="A from 1 to B"):
            suite.shard(whole, part, count)


def test_a_notebook_that_fails_stops_no_other(run, tmp_path):
    bad = replace(run, name="bad", parameters={"profile": "mini", "number": 0}, records=())
    good = replace(run, records=())
    lacking = replace(run, name="lacking", records=tuple(one.id for one in CELLS))
    plan = suite.Plan(get_profile("mini"), CELLS, (bad, lacking, good), Store(tmp_path / "store"))
    said = []
    outcome = suite.run_plan(plan, jobs=1, runs=False, say=said.append, progress=False)
    assert outcome.executed == ["probe"] and good.is_done()
    assert set(outcome.failed) == {"bad", "lacking"}
    assert "division by zero" in outcome.failed["bad"]
    assert (
        "not run, 7 of its 7 results are missing (the first: b0, dense)"
        in (outcome.failed["lacking"])
    )
    assert said[0].startswith("bad: failed, ") and "1 of 2, about " in said[0]
    assert said[1].endswith("2 of 2")
    assert sorted(line.split(":")[1] for line in outcome.lines()) == [" bad", " lacking"]

    again = suite.run_plan(
        replace(plan, notebooks=(good,)), jobs=1, runs=False, say=said.append, progress=False
    )
    assert (again.executed, again.current, again.failed) == ([], ["probe"], {})
    assert good.seconds_last_time() > 0


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


def test_two_jobs_are_two_notebooks_at_a_time_and_one_that_fails_stops_no_other(run, tmp_path):
    pair = []
    for number, other in ((1, 2), (2, 1)):
        source = tmp_path / f"meeting{number}.py"
        source.write_text(MEETING.format(folder=tmp_path, number=number, other=other))
        pair.append(replace(run, name=f"meeting{number}", source=source, records=()))
    bad = replace(run, name="bad", parameters={"profile": "mini", "number": 0}, records=())
    plan = suite.Plan(get_profile("mini"), (), (*pair, bad), Store(tmp_path / "store"))
    said = []
    outcome = suite.run_plan(plan, jobs=2, runs=False, say=said.append, progress=False)
    assert sorted(outcome.executed) == ["meeting1", "meeting2"]
    assert "division by zero" in outcome.failed["bad"] and len(said) == 3
    threads = max(1, (os.cpu_count() or 1) // 2)
    assert f"threads: {threads}" in pair[0].output(".ipynb").read_text()
