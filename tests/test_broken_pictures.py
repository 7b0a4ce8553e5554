"""One damaged or missing picture: all else is answered, and a repaired one costs one answer."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from synthetic import write_synthetic
from tiny_checkpoints import save_tiny

from sparsevlm.benchmarks.loaders import layout_of
from sparsevlm.evaluation import backends, workers
from sparsevlm.evaluation.backends import CheckpointBackend
from sparsevlm.evaluation.plan import plan_runs
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.failures import OpenSamplesError
from sparsevlm.evaluation.results.store import RunError, Store
from sparsevlm.evaluation.runs import execute_runs


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llava")
    save_tiny("llava", folder)
    return folder


@pytest.fixture
def source(tmp_path):
    """Three pictures with questions of POPE; nothing of them is remembered by this process."""
    write_synthetic("pope", tmp_path / "data" / layout_of("pope").folder, n=6)
    forget()
    yield CheckpointBackend(str(tmp_path / "data"), quantization=None, complete=False)
    forget()


def forget():
    """What a new process does not know."""
    backends._file_digest.cache_clear()
    backends._all_samples.cache_clear()
    workers._versioned_samples.cache_clear()


@pytest.fixture
def profile(checkpoint):
    return replace(
        get_profile("mini"), model=str(checkpoint), benchmarks=("pope",), samples_per_benchmark=6,
        methods=("sparsevlm",), budgets=(40,), batch=2, max_new_tokens=2,
    )  # fmt: skip


def execute(run, store, source):
    """Run a run as a new process does; returns how many answers it gave."""
    forget()
    done = []
    workers.execute_run(run, store, source, done.append)
    return sum(done[1:])


def result(store, run):
    return store.path(run.id).read_bytes()


def test_a_picture_that_vanishes_is_named_and_asked_about_when_it_is_back(
    source, profile, tmp_path
):
    store, undisturbed = Store(tmp_path / "store"), Store(tmp_path / "undisturbed")
    _, run = plan_runs(profile, backend=source, store=store)
    execute(run, undisturbed, source)
    samples = source.samples(profile.model, "pope", 6, 0)
    path = tmp_path / "data" / samples[2].media
    concerned = {sample.id for sample in samples if sample.media == samples[2].media}
    kept = path.read_bytes()
    workers._samples(source, run, store)  # the process has begun
    path.unlink()
    with pytest.raises(OpenSamplesError) as error:
        workers.execute_run(run, store, source, lambda n: None)
    message = str(error.value)
    assert f"sample {samples[2].id} ({samples[2].media}): no image at {path}" in message
    ((_, failures),) = error.value.runs
    assert {failure.id for failure in failures} == concerned
    assert not store.has(run)
    journal = store.path(run.id, "jsonl").read_text().splitlines()
    assert sum('"prediction"' in line for line in journal) == 6 - len(concerned)

    path.write_bytes(kept)
    assert execute(run, store, source) == len(concerned)
    assert result(store, run) == result(undisturbed, run)


def test_a_truncated_picture_can_be_repaired_and_costs_only_its_own_answers(
    source, profile, tmp_path
):
    """The repaired picture makes other runs; they take over what is about the other pictures.

    The first run is a real one, with a worker process.
    """
    store, undisturbed = Store(tmp_path / "store"), Store(tmp_path / "undisturbed")
    execute(good := plan_runs(profile, backend=source, store=undisturbed)[1], undisturbed, source)
    samples = source.samples(profile.model, "pope", 6, 0)
    path = tmp_path / "data" / samples[0].media
    concerned = {sample.id for sample in samples if sample.media == samples[0].media}
    kept = path.read_bytes()
    path.write_bytes(kept[: len(kept) // 2])
    forget()
    runs = plan_runs(profile, backend=source, store=store)
    failed = execute_runs(runs, store, 1, False, backend=source)
    assert list(failed) == [f"sample {name} ({samples[0].media})" for name in sorted(concerned)]
    for reason in failed.values():
        assert f"the image {path} is damaged or truncated" in reason
        assert reason.endswith("[2 runs, first pope, dense]")
    run = runs[1]
    assert not store.has(run)
    assert store.path(run.id, "jsonl").read_text().count('"prediction"') == 6 - len(concerned)

    path.write_bytes(kept)
    with pytest.raises(RunError, match="have changed .*run the same command again"):
        execute(run, store, source)
    dense, again = plan_runs(profile, backend=source, store=store)
    assert again == good != run
    assert execute(dense, store, source) == execute(again, store, source) == len(concerned)
    assert result(store, again) == result(undisturbed, good)
    names = {path.name for path in store.path(again.id).parent.iterdir()}
    assert names == {f"{c.id}.{suffix}" for c in (dense, again) for suffix in ("json", "run.json")}
    sessions = store.load(again).sessions
    assert [event["id"] for event in sessions[0]["events"]] == sorted(concerned)
    run_file = json.loads(store.path(again.id, "run.json").read_text())
    assert [answer["batch"] for answer in run_file["answers"]] == [2] * 6
