"""Runs run in real worker processes on a real (untrained) miniature, and survive kills."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from contextlib import ExitStack
from dataclasses import asdict, replace

import pytest
from executing import execute_run
from untrained import quiet

from sparsevlm.benchmarks import get_benchmark
from sparsevlm.evaluation.answer import answer
from sparsevlm.evaluation.backends import MiniatureBackend
from sparsevlm.evaluation.loaded import load_model
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.store import RunBusyError, RunError, Store
from sparsevlm.evaluation.runs import (
    ensure_records,
    execute_runs,
    load_records,
    missing_runs,
    plan_runs,
)

PROFILE = replace(
    get_profile("mini"),
    model="mini-llava",
    benchmarks=("pope", "mme"),
    samples_per_benchmark=6,
    methods=("sparsevlm", "random"),
    budgets=(192,),
    batch=4,
)


@pytest.fixture(scope="module")
def uninterrupted(source, runs, tmp_path_factory):
    """Every run, made in this process."""
    store = Store(tmp_path_factory.mktemp("uninterrupted"))
    return {run: execute_run(run, store, source, quiet) for run in runs}


def script(code, *arguments):
    prologue = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
    source = prologue + "from test_runs import *\n" + textwrap.dedent(code)
    return [sys.executable, "-c", source, *map(str, arguments)]


def test_a_profile_has_the_dense_model_and_every_method_at_every_budget(runs):
    assert [c.title for c in runs] == [
        f"{b}, {m}" for b in ("pope", "mme")
        for m in ("dense", "sparsevlm at 192 tokens", "random at 192 tokens")
    ]  # fmt: skip
    assert len({c.id for c in runs}) == 6
    assert {c.samples for c in runs[:3]}.isdisjoint(c.samples for c in runs[3:])


def test_table_1_of_the_miniature_has_176_cells(source, tmp_path):
    full = replace(
        get_profile("mini"), model="mini-llava", samples_per_benchmark=4, budgets=(200, 192, 180)
    )
    assert len(plan_runs(full, backend=source, store=Store(tmp_path))) == 8 * (1 + 7 * 3)


def test_a_plan_is_read_back_and_made_again_when_anything_changes(source, tmp_path, monkeypatch):
    store = Store(tmp_path)
    first = plan_runs(PROFILE, backend=source, store=store)
    (plan,) = (tmp_path / "plans").iterdir()
    marked = json.loads(plan.read_text())[:1]
    plan.write_text(json.dumps(marked))
    assert plan_runs(PROFILE, backend=source, store=store) == first[:1]
    assert len(plan_runs(replace(PROFILE, seed=1), backend=source, store=store)) == 6
    assert not plan.exists(), "an outdated plan is removed"
    monkeypatch.setattr("sparsevlm.evaluation.plan.package_digest", lambda: "other code")
    assert plan_runs(PROFILE, backend=source, store=store) == first
    (plan,) = (tmp_path / "plans").iterdir()
    plan.write_text("[{")
    assert plan_runs(PROFILE, backend=source, store=store) == first


def test_a_limited_profile_has_a_plan_of_its_own(source, tmp_path):
    """Else each would throw the other's away, and the questions would be drawn again and again."""
    store, whole = Store(tmp_path), replace(PROFILE, study="probe")
    for profile in (whole, whole.limited(4), replace(whole, chosen_model=True)):
        plan_runs(profile, backend=source, store=store)
    assert len(list((tmp_path / "plans").iterdir())) == 3


def test_another_seed_or_other_weights_are_other_cells(source, runs, tmp_path):
    other = plan_runs(replace(PROFILE, seed=1), backend=source, store=Store(tmp_path))
    assert {c.id for c in other}.isdisjoint(c.id for c in runs)
    sums = os.path.join(source.folder, "mini-llava", "SHA256SUMS")
    before = open(sums).read()
    try:
        with open(sums, "a") as file:
            file.write("0  extra\n")
        assert source.revision("mini-llava") != runs[0].revision
    finally:
        with open(sums, "w") as file:
            file.write(before)


def test_missing_weights_and_unfinished_profiles_are_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="'mini-llava-32' is incomplete.*make train"):
        plan_runs("mini", backend=MiniatureBackend(str(tmp_path)), store=Store(tmp_path))
    with pytest.raises(NotImplementedError, match="'shape' cannot run"):
        plan_runs("shape", store=Store(tmp_path))
    with pytest.raises(ValueError, match="unknown profile 'mega'; known: mini"):
        plan_runs("mega", store=Store(tmp_path))


def test_a_record_has_prompts_answers_and_what_each_layer_processed(runs, uninterrupted, source):
    record = uninterrupted[runs[1]]
    samples = source.samples("mini-llava", "pope", 6, 0)
    for row, sample in zip(record.predictions, samples, strict=True):
        assert {k: row[k] for k in sample.to_json()} == sample.to_json()
        assert row["prompt"] == f"USER : <image> {sample.question} ASSISTANT :"
        assert row["text_tokens"] == len(row["prompt"].split())  # <s> for <image>
        assert row["tokens_in"][0] == 576 and len(row["tokens_in"]) == 4
        assert "seconds" not in row, "times are in the file of the run"
    assert record.seconds > 0
    assert record.tokens_out == pytest.approx(192, abs=1)
    assert record.tokens_in > record.tokens_out
    assert record.scores == get_benchmark("pope").score(record.predictions)
    assert set(record.sessions[0]) >= {"commit", "dirty", "versions", "device", "time"}
    dense = uninterrupted[runs[0]]
    assert dense.tokens_in == dense.tokens_out == 576


def test_pruning_changes_what_the_model_says(runs, uninterrupted):
    dense, sparse, random = (uninterrupted[c].predictions for c in runs[:3])
    said = [[row["prediction"] for row in rows] for rows in (dense, sparse, random)]
    assert said[0] != said[1] and said[0] != said[2] and said[1] != said[2]


def test_workers_make_the_same_records_and_finished_cells_are_left_alone(
    source, runs, uninterrupted, tmp_path, capsys
):
    store = Store(tmp_path)
    some = [runs[1], runs[0], runs[4], runs[1]]
    execute_runs(some, store, jobs=2, backend=source)
    for run in some:
        assert store.load(run).predictions == uninterrupted[run].predictions
    assert len(missing_runs(runs, store)) == 3
    times = {c: store.path(c.id).stat().st_mtime_ns for c in some}
    broken = MiniatureBackend("/nonexistent")  # would fail if anything ran
    capsys.readouterr()  # the bar of those that ran
    execute_runs(some, store, jobs=2, backend=broken)
    assert capsys.readouterr() == ("", ""), "nothing to do shows no bar"
    assert times == {c: store.path(c.id).stat().st_mtime_ns for c in some}


def test_a_killed_run_goes_on_where_it_stopped_with_the_same_answers(
    source, runs, uninterrupted, tmp_path
):
    """The whole run is killed with SIGKILL; its worker must not live on with the lock."""
    run, store = runs[1], Store(tmp_path)
    code = """
    if __name__ == "__main__":
        runs = plan_runs(PROFILE, backend=MiniatureBackend(sys.argv[2]), store=Store(sys.argv[1]))
        execute_runs([runs[1], *runs], Store(sys.argv[1]), backend=MiniatureBackend(sys.argv[2]))
    """
    process = subprocess.Popen(
        script(code, store.folder, source.folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    journal = store.path(run.id, "jsonl")
    _wait(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 2 + 4, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()  # returns when the worker, which shares the pipe, has ended too
    assert len(missing_runs(runs, store)) >= 3, "the worker went on without its parent"
    if not store.has(run):  # else the machine was too fast for this test, and all is well
        _wait(lambda: _is_free(store, run, source))
        samples = source.samples("mini-llava", "pope", 6, 0)
        with store.writing(run, [sample.id for sample in samples]) as writer:
            assert len(writer.rows) in (4, 6), "batches are kept whole"
        execute_run(run, store, source, quiet)
    assert store.load(run).predictions == uninterrupted[run].predictions


def _wait(happened, process=None, seconds=120):
    end = time.monotonic() + seconds
    while not happened():
        assert process is None or process.poll() is None, process.stderr.read().decode()[-2000:]
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def _is_free(store, run, source):
    try:
        with store.writing(run, [s.id for s in source.samples("mini-llava", "pope", 6, 0)]):
            return True
    except RunBusyError:
        return False


def test_a_batch_that_was_half_kept_is_answered_whole_and_a_kept_one_not_again(
    source, runs, uninterrupted, tmp_path, monkeypatch
):
    run, store, asked, batches = runs[0], Store(tmp_path), [], []

    def watched(model, builder, questions, *rest, **how):
        batches.append(len(questions))
        return answer(model, builder, questions, *rest, **how)

    monkeypatch.setattr("sparsevlm.evaluation.asking.answer", watched)
    rows = [{**row, "batch": 4} for row in uninterrupted[run].predictions]
    with store.writing(run, [row["id"] for row in rows]) as writer:
        writer.append([rows[1], rows[4], rows[5]])  # a part of the first batch, all of the second
    record = execute_run(run, store, source, asked.append)
    assert asked == [3, 3]
    assert batches == [4]
    assert record.predictions == uninterrupted[run].predictions


def test_a_run_of_another_process_is_waited_for_and_what_it_leaves_is_ours(source, runs, tmp_path):
    store = Store(tmp_path)
    ids = [s.id for s in source.samples("mini-llava", "pope", 6, 0)]
    with ExitStack() as held:
        held.enter_context(store.writing(runs[0], ids))
        threading.Timer(6, held.close).start()  # as another process that is stopped in the middle
        started = time.monotonic()
        assert execute_runs(runs[:2], store, backend=source) == {}
        assert time.monotonic() - started >= 6
    assert missing_runs(runs[:2], store) == []


def test_missing_records_are_computed_and_only_those(source, runs, uninterrupted, tmp_path):
    store = Store(tmp_path)
    first = ensure_records(PROFILE, jobs=1, backend=source, store=store)
    assert [record.run for record in first] == runs
    assert all(r.predictions == uninterrupted[r.run].predictions for r in first)
    os.remove(store.path(runs[2].id))
    kept = store.path(runs[0].id).stat().st_mtime_ns
    assert ensure_records(PROFILE, backend=source, store=store)[2].run == runs[2]
    assert store.path(runs[0].id).stat().st_mtime_ns == kept


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("samples", "0" * 16, "the samples of pope, dense have changed"),
        ("revision", "0" * 16, "the weights of 'mini-llava' have changed"),
        ("pruner", '{"name":"other"}', "'dense' has other settings than pope, dense names"),
    ],
)
def test_a_cell_is_not_filled_with_something_else(source, runs, tmp_path, field, value, message):
    with pytest.raises(RunError, match=message):
        execute_run(replace(runs[0], **{field: value}), Store(tmp_path), source, quiet)


def test_workers_have_the_memory_of_a_model_that_was_loaded_for_drawing(source, runs, tmp_path):
    model = weakref.ref(load_model(replace(get_profile("mini"), model="mini-llava")).model)
    assert not execute_runs(runs[:1], Store(tmp_path), 1, backend=source)
    gc.collect()
    assert model() is None


def test_what_stops_a_worker_reaches_the_user_as_one_sentence(source, runs, tmp_path):
    with pytest.raises(RunError, match="have changed .*run the same command again") as error:
        execute_runs([replace(runs[0], samples="0" * 16)], Store(tmp_path), backend=source)
    assert "Traceback" not in str(error.value)


def test_reading_finished_records_is_quick_and_needs_no_torch(source, uninterrupted, tmp_path):
    store = Store(tmp_path)
    for record in uninterrupted.values():
        ids = [row["id"] for row in record.predictions]
        with store.writing(record.run, ids) as writer:
            writer.append(record.predictions)
            writer.finish(record.scores)
    plan_runs(PROFILE, backend=source, store=store)  # naming the runs draws their pictures once
    code = """
    import json, sys
    from sparsevlm.evaluation.backends import MiniatureBackend
    from sparsevlm.evaluation.profiles import Profile
    from sparsevlm.evaluation.results.store import Store
    from sparsevlm.evaluation.runs import execute_runs, load_records, plan_runs
    store, source = Store(sys.argv[1]), MiniatureBackend(sys.argv[2])
    profile = Profile(**json.loads(sys.argv[3]))
    runs = plan_runs(profile, backend=source, store=store)
    execute_runs(runs, store, backend=source)
    assert len(load_records(profile, backend=source, store=store)) == 6
    sys.exit("torch" in sys.modules or "pandas" in sys.modules)
    """
    arguments = str(store.folder), source.folder, json.dumps(asdict(PROFILE))
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    assert subprocess.run(command).returncode == 0
    os.remove(store.path(next(iter(uninterrupted)).id))
    with pytest.raises(FileNotFoundError, match="1 of 6 results of profile 'mini' are missing"):
        load_records(PROFILE, backend=source, store=store)
