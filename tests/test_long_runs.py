"""Runs that are killed, that lack memory, and that meet damaged pictures."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from untrained import Hungry, python, quiet

from sparsevlm.evaluation.profiles import PROFILES
from sparsevlm.evaluation.results.failures import OpenSamplesError
from sparsevlm.evaluation.results.store import CellError, Store
from sparsevlm.evaluation.workers import _models, run_cell

PROFILE = replace(
    PROFILES["mini"], benchmarks=("pope",), samples_per_benchmark=8, methods=("sparsevlm",),
    budgets=(192,), batch=2, max_new_tokens=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(source, cells, tmp_path_factory):
    """The record of the pruned cell, made at one go."""
    return run_cell(cells[1], Store(tmp_path_factory.mktemp("undisturbed")), source, quiet)


def result(store, cell):
    return store.path(cell.id).read_bytes()


def events(store, cell):
    return [e for session in store.load(cell).sessions for e in session.get("events", [])]


# Killed at random

KILLS = """
import os, random, signal, time
from sparsevlm.evaluation.runs import plan_cells
from sparsevlm.evaluation.sources import MiniatureSource
from test_long_runs import PROFILE, quiet, run_cell, Store

source, folder, kills = MiniatureSource(sys.argv[1]), sys.argv[2], int(sys.argv[3])
cells = plan_cells(PROFILE, source=source, store=Store(folder))

def run(cells, store):
    store.tidy()
    for cell in cells:
        if not store.has(cell):
            run_cell(cell, store, source, quiet)

run(cells[:1], Store(folder + "/undisturbed"))  # loads what all forked children then have
started = time.perf_counter()
run(cells[1:], Store(folder + "/undisturbed"))
batch = (time.perf_counter() - started) / 4
moments, killed = random.Random(0), 0
while True:
    child = os.fork()
    if not child:
        run(cells, Store(folder + "/killed"))
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


def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(source, cells, tmp_path, kills=8):
    done = python(KILLS, source.folder, tmp_path, kills)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= kills // 2, "the run was through before the last kill"
    killed, undisturbed = Store(tmp_path / "killed"), Store(tmp_path / "undisturbed")
    for cell in cells:
        assert result(killed, cell) == result(undisturbed, cell)
    assert sum(len(killed.load(cell).sessions) for cell in cells) > len(cells)
    names = {path.name for path in (tmp_path / "killed" / "cells").iterdir()}
    assert names == {f"{cell.id}{suffix}" for cell in cells for suffix in (".json", ".run.json")}


# Memory


def test_batches_shrink_where_memory_is_short_and_the_record_says_so(
    source, cells, undisturbed, tmp_path
):
    store, done = Store(tmp_path), []
    record = run_cell(cells[1], store, Hungry(source.folder, limit=1), done.append)
    assert done == [0] + [1] * 8
    assert [e["smaller_batch"] for e in events(store, cells[1])] == [1], "and it stays small"
    assert "can't allocate memory" in events(store, cells[1])[0]["reason"]
    run = json.loads(store.path(cells[1].id, "run.json").read_text())
    assert [answer["batch"] for answer in run["answers"]] == [1] * 8
    said = [row["prediction"] for row in record.predictions]
    assert said == [row["prediction"] for row in undisturbed.predictions]


def test_a_sample_too_large_even_alone_leaves_the_cell_open_and_is_asked_again(
    source, cells, undisturbed, tmp_path
):
    store, cell, done = Store(tmp_path), replace(cells[1], batch=4), []
    large = source.samples("mini-llava", "pope", 8, 0)[1].id
    hungry = Hungry(source.folder, samples_too_large=(large,))
    with pytest.raises(
        OpenSamplesError, match=f"sample {large} .*memory runs out .*alone"
    ) as error:
        run_cell(cell, store, hungry, done.append)
    ((unfinished, failures),) = error.value.cells
    assert (unfinished, [failure.id for failure in failures]) == (cell, [large])
    assert not store.has(cell) and sum(done) == 7
    opened = json.loads(store.path(cell.id, "open.json").read_text())
    assert [entry["id"] for entry in opened["open"]] == [large]

    done.clear()
    run_cell(cell, store, source, done.append)
    assert done == [7, 1]
    assert not store.path(cell.id, "open.json").exists()
    kinds = [event["kind"] for event in events(store, cell)]
    assert kinds == ["out of memory", "out of memory", "no answer"]
    batches = json.loads(store.path(cell.id, "run.json").read_text())["answers"]
    assert [answer["batch"] for answer in batches] == [4] * 4 + [1] * 4


def test_a_model_that_does_not_fit_is_one_sentence(source, cells, tmp_path):
    class Huge(Hungry):
        def load(self, cell):
            import torch

            return torch.empty(1 << 50, dtype=torch.uint8)

    _models.clear()
    with pytest.raises(CellError, match="not enough memory to load 'mini-llava' on cpu .*--jobs"):
        run_cell(cells[0], Store(tmp_path), Huge(source.folder), quiet)


def test_an_error_that_is_neither_memory_nor_a_picture_stops_the_cell(source, cells, tmp_path):
    class Buggy(Hungry):
        def inputs(self, model, processor, batch):
            raise KeyError("pixels")

    with pytest.raises(KeyError, match="pixels"):
        run_cell(cells[0], Store(tmp_path), Buggy(source.folder), quiet)
