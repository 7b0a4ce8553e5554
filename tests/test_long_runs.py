"""Runs that are killed, that lack memory, and that meet damaged pictures."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from executing import execute_run
from untrained import Hungry, python, quiet

from sparsevlm.evaluation.asking import _models
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.failures import OpenSamplesError
from sparsevlm.evaluation.results.store import RunError, Store

PROFILE = replace(
    get_profile("mini"), model="mini-llava", benchmarks=("pope",), samples_per_benchmark=8,
    methods=("sparsevlm",), budgets=(192,), batch=2, max_new_tokens=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(source, runs, tmp_path_factory):
    """The record of the pruned run, made at one go."""
    return execute_run(runs[1], Store(tmp_path_factory.mktemp("undisturbed")), source, quiet)


def result(store, run):
    return store.path(run.id).read_bytes()


def events(store, run):
    return [e for session in store.load(run).sessions for e in session.get("events", [])]


# Killed at random

KILLS = """
import os, random, signal, time
from sparsevlm.evaluation.runs import plan_runs
from sparsevlm.evaluation.backends import MiniatureBackend
from test_long_runs import PROFILE, quiet, execute_run, Store

source, folder, kills = MiniatureBackend(sys.argv[1]), sys.argv[2], int(sys.argv[3])
runs = plan_runs(PROFILE, backend=source, store=Store(folder))

def execute(runs, store):
    store.tidy()
    for run in runs:
        if not store.has(run):
            execute_run(run, store, source, quiet)

execute(runs[:1], Store(folder + "/undisturbed"))  # loads what all forked children then have
started = time.perf_counter()
execute(runs[1:], Store(folder + "/undisturbed"))
batch = (time.perf_counter() - started) / 4
moments, killed = random.Random(0), 0
while True:
    child = os.fork()
    if not child:
        execute(runs, Store(folder + "/killed"))
        os._exit(0)
    if killed < kills:
        time.sleep(moments.uniform(0, 1.5 * batch))
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    killed += status == signal.SIGKILL
    if status == 0:
        break
    assert status == signal.SIGKILL, status
print(killed)
"""


def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(source, runs, tmp_path, kills=8):
    done = python(KILLS, source.folder, tmp_path, kills)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= kills // 2, "the run was through before the last kill"
    killed, undisturbed = Store(tmp_path / "killed"), Store(tmp_path / "undisturbed")
    for run in runs:
        assert result(killed, run) == result(undisturbed, run)
    assert sum(len(killed.load(run).sessions) for run in runs) > len(runs)
    names = {path.name for path in (tmp_path / "killed" / "runs").iterdir()}
    assert names == {f"{run.id}{suffix}" for run in runs for suffix in (".json", ".run.json")}


# Memory


def test_batches_shrink_where_memory_is_short_and_the_record_says_so(
    source, runs, undisturbed, tmp_path
):
    store, done = Store(tmp_path), []
    record = execute_run(runs[1], store, Hungry(source.folder, limit=1), done.append)
    assert done == [0] + [1] * 8
    assert [e["smaller_batch"] for e in events(store, runs[1])] == [1], "and it stays small"
    assert "can't allocate memory" in events(store, runs[1])[0]["reason"]
    sessions = json.loads(store.path(runs[1].id, "run.json").read_text())
    assert [answer["batch"] for answer in sessions["answers"]] == [1] * 8
    said = [row["prediction"] for row in record.predictions]
    assert said == [row["prediction"] for row in undisturbed.predictions]


def test_a_sample_too_large_even_alone_leaves_the_cell_open_and_is_asked_again(
    source, runs, undisturbed, tmp_path
):
    store, run, done = Store(tmp_path), replace(runs[1], batch=4), []
    samples = source.samples("mini-llava", "pope", 8, 0)
    asked = [sample.question for sample in samples]
    sample = next(sample for sample in samples if asked.count(sample.question) == 1)
    large, hungry = sample.id, Hungry(source.folder, questions_too_large=(sample.question,))
    with pytest.raises(
        OpenSamplesError, match=f"sample {large} .*memory runs out .*alone"
    ) as error:
        execute_run(run, store, hungry, done.append)
    ((unfinished, failures),) = error.value.runs
    assert (unfinished, [failure.id for failure in failures]) == (run, [large])
    assert not store.has(run) and sum(done) == 7
    opened = json.loads(store.path(run.id, "open.json").read_text())
    assert [entry["id"] for entry in opened["open"]] == [large]

    done.clear()
    execute_run(run, store, source, done.append)
    assert done == [7, 1]
    assert not store.path(run.id, "open.json").exists()
    kinds = [event["kind"] for event in events(store, run)]
    assert kinds == ["out of memory", "out of memory", "no answer"]
    batches = json.loads(store.path(run.id, "run.json").read_text())["answers"]
    assert [answer["batch"] for answer in batches] == [4] * 4 + [1] * 4


def test_a_model_that_does_not_fit_is_one_sentence(source, runs, tmp_path):
    class Huge(Hungry):
        def load(self, model, **how):
            import torch

            return torch.empty(1 << 50, dtype=torch.uint8)

    _models.clear()
    with pytest.raises(RunError, match="not enough memory to load 'mini-llava' on cpu .*--jobs"):
        execute_run(runs[0], Store(tmp_path), Huge(source.folder), quiet)


def test_an_error_that_is_neither_memory_nor_a_picture_stops_the_cell(source, runs, tmp_path):
    class Buggy(Hungry):
        def _inputs(self, builder, questions, media):
            raise KeyError("pixels")

    with pytest.raises(KeyError, match="pixels"):
        execute_run(runs[0], Store(tmp_path), Buggy(source.folder), quiet)
