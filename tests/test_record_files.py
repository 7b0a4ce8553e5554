"""A finished record is read by its first lines; its rows come when somebody asks for them."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from test_store import IDS, RUN, fill

from sparsevlm.benchmarks.loaders.layout import write_picture
from sparsevlm.benchmarks.uploads import write_upload
from sparsevlm.evaluation.results import record_files
from sparsevlm.evaluation.results.record_files import RECORDS_IN_MEMORY
from sparsevlm.evaluation.results.store import RunError, Store
from sparsevlm.models.atomic import replacing, write_text
from sparsevlm.runtime.trace import SampleTrace, StageTrace, Trace


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def reads(monkeypatch):
    """Grows by the name of every file whose rows are read."""
    names = []
    real = record_files._read_rows.__wrapped__

    def watched(path, changed):
        names.append(path.name)
        return real(path, changed)

    kept = record_files.lru_cache(maxsize=RECORDS_IN_MEMORY)(watched)
    monkeypatch.setattr(record_files, "_read_rows", kept)
    return names


def spoil_rows(path):
    """Write nonsense over the middle of the rows; first and last line stay."""
    text = path.read_text()
    middle = text.index('"predictions"') + 40
    path.write_text(text[:middle] + "?" * 40 + text[middle + 40 :])


def test_scores_are_there_without_a_look_at_the_rows(store, reads):
    fill(store, IDS)
    spoil_rows(store.path(RUN.id))
    record = store.load(RUN)
    assert record.scores == {"score": 1.0} and record.sessions == ({"commit": "abc"},)
    assert record.run == RUN and record.seconds == 20.0
    assert len(record.predictions) == len(IDS) and not reads
    with pytest.raises(RunError, match=f"{RUN.id}.json is damaged .*delete it and run"):
        record.predictions[0]


def test_rows_are_read_once_for_the_records_that_are_used_together(store, reads):
    runs = [replace(RUN, seed=n) for n in range(RECORDS_IN_MEMORY + 1)]
    for run in runs:
        with store.writing(run, IDS) as writer:
            writer.append([{"id": i, "prediction": str(run.seed)} for i in IDS])
            writer.finish({})
    records = [store.load(run) for run in runs]
    for _ in range(2):
        for record in records[:RECORDS_IN_MEMORY]:
            assert record.predictions[0]["prediction"] == str(record.run.seed)
    assert len(reads) == RECORDS_IN_MEMORY
    assert records[-1].predictions[-1]["id"] == IDS[-1]
    records[0].predictions[0]
    assert len(reads) == RECORDS_IN_MEMORY + 2, "the one used longest ago had made room"


def test_rows_are_a_sequence_and_equal_what_they_hold(store):
    rows = fill(store, IDS).predictions
    assert rows == tuple(rows) and rows == store.load(RUN).predictions
    assert rows != tuple(rows)[1:] and rows != 3
    assert [row["id"] for row in rows[2:4]] == IDS[2:4]
    assert list(reversed(rows))[0]["id"] == IDS[-1]


def test_times_and_batches_are_in_the_file_of_the_run_only(store):
    with store.writing(RUN, IDS) as writer:
        writer.append([{"id": i, "seconds": 0.25, "batch": 4} for i in IDS])
        record = writer.finish({})
    assert list(record.predictions) == [{"id": i} for i in IDS]
    assert "seconds" not in store.path(RUN.id).read_text()
    run = json.loads(store.path(RUN.id, "run.json").read_text())
    assert run["answers"] == [{"id": i, "seconds": 0.25, "batch": 4} for i in IDS]
    assert run["seconds"] == record.seconds == 10.0


def test_a_record_that_is_not_whole_is_said_to_be_so(store):
    fill(store, IDS)
    result, run = store.path(RUN.id), store.path(RUN.id, "run.json")
    text = result.read_text()
    for broken in ("", text[:-3], text.replace('"format":2', '"format":1')):
        result.write_text(broken)
        with pytest.raises(RunError, match=f"{RUN.id}.json is damaged"):
            store.load(RUN)
    result.write_text(text.replace('"rows":40', '"rows":41'))
    with pytest.raises(RunError, match="40 rows of 41"):
        list(store.load(RUN).predictions)
    result.write_text(text)
    os.remove(run)
    with pytest.raises(RunError, match=f"{run.name}, which belongs to it, is missing"):
        store.load(RUN)


# Written atomically


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as partial:
        partial.write_text("whole")
        assert not path.exists() and partial.suffix == ".txt"
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as partial:
        partial.write_text("ha")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def a_trace(path):
    stage = StageTrace(0, [0], [], [], [], [], [], 1)
    return Trace({}, [SampleTrace(2, (1, 2), [stage], [2], [1])]).save(path)


def a_picture(path):
    path.mkdir(exist_ok=True)
    return path / write_picture(b"\x89P", path, "images")


WRITERS = {
    "a text": lambda path: write_text(path, "text") or path,
    "a trace": a_trace,
    "a picture of a table": a_picture,
    "answers to upload": lambda path: write_upload("mmvet", [], path, path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_has_the_permissions_that_open_gives(name, tmp_path):
    """Those of the umask; a file that is there keeps its own."""
    before = os.umask(0o027)
    try:
        path = WRITERS[name](tmp_path / "new")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        WRITERS[name](tmp_path / "new")
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(before)


def test_a_file_that_may_only_be_read_is_replaced(tmp_path, monkeypatch):
    """By an ordinary user too, whom its permissions bind."""
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o777)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        for write in (lambda path: write_text(path, "new"), Trace({}, []).save):
            path = Path("old.gz")
            path.write_text("old")
            path.chmod(0o444)
            write(path)
            assert path.stat().st_size and path.read_bytes() != b"old"
            assert stat.S_IMODE(path.stat().st_mode) == 0o444
            path.unlink()
    finally:
        os.seteuid(user)
    assert not list(tmp_path.iterdir())
