"""Results survive kills, torn lines, full disks and second processes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest

from sparsevlm.evaluation.results.run import EvaluationRun
from sparsevlm.evaluation.results.store import RunBusyError, RunError, Store

IDS = [f"s{i}" for i in range(40)]
RUN = EvaluationRun(
    model="m",
    revision="r",
    benchmark="gqa",
    samples="v",
    num_samples=len(IDS),
    seed=0,
    method="dense",
    tokens=None,
    pruner='{"name":"dense"}',
    dtype="float32",
    attention="sdpa",
    batch=4,
)


def row(sample_id):
    return {"id": sample_id, "prediction": f"answer to {sample_id}", "seconds": 0.5}


def answered(ids):
    """What a finished record has of these rows."""
    return [{"id": i, "prediction": f"answer to {i}"} for i in ids]


def fill(store, ids):
    with store.writing(RUN, IDS) as writer:
        writer.start_session({"commit": "abc"})
        for start in range(0, len(ids), RUN.batch):
            writer.append([row(i) for i in ids[start : start + RUN.batch]])
        return writer.finish({"score": 1.0}) if len(ids) == len(IDS) else None


def child(code, *arguments, wrapper=()):
    """Start a Python process that has this module's names."""
    prologue = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
    source = prologue + "from test_store import *\n" + textwrap.dedent(code)
    return subprocess.Popen(
        [*wrapper, sys.executable, "-c", source, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def test_a_finished_record_reads_back_as_it_was_written(store):
    record = fill(store, IDS)
    assert store.load(RUN) == record
    assert store.has(RUN)
    assert [r["id"] for r in record.predictions] == IDS
    assert record.seconds == 20.0
    assert record.sessions == ({"commit": "abc"},)
    names = {p.name for p in store.path(RUN.id).parent.iterdir()}
    assert names == {f"{RUN.id}.json", f"{RUN.id}.run.json"}


def test_rows_come_in_the_order_of_the_samples_whatever_the_order_of_answers(store):
    with store.writing(RUN, IDS) as writer:
        writer.append([row(i) for i in reversed(IDS)])
        record = writer.finish({})
    assert [r["id"] for r in record.predictions] == IDS


def test_a_finished_run_is_not_written_again(store):
    fill(store, IDS)
    with pytest.raises(RunError, match="is finished; it is not run twice"):
        fill(store, IDS)


def test_an_unfinished_run_is_no_result(store):
    fill(store, IDS[:8])
    assert not store.has(RUN)
    with pytest.raises(FileNotFoundError, match="no result yet for gqa, dense .*reproduce"):
        store.load(RUN)
    with store.writing(RUN, IDS) as writer, pytest.raises(ValueError, match="32 samples"):
        writer.finish({})


def test_a_sample_is_kept_once_and_strangers_are_refused(store):
    with store.writing(RUN, IDS) as writer:
        writer.append([row("s0")])
        with pytest.raises(ValueError, match="'s0' is unknown to gqa, dense, or there already"):
            writer.append([row("s0")])
        with pytest.raises(ValueError, match="'zz' is unknown"):
            writer.append([row("s1"), row("zz")])
        assert list(writer.rows) == ["s0"]


def test_a_killed_process_loses_nothing_it_had_kept_and_doubles_nothing(store):
    """SIGKILL in the middle, several times, each time somewhere else."""
    code = """
    with Store(sys.argv[1]).writing(RUN, IDS) as writer:
        writer.start_session({})
        for i in IDS:
            if i not in writer.rows:
                writer.append([row(i)])
                print(i, flush=True)
    """
    kept: list[str] = []
    for stop_after in (3, 1, 7):
        process = child(code, store.folder)
        kept += [process.stdout.readline().strip() for _ in range(stop_after)]
        process.send_signal(signal.SIGKILL)
        kept += process.communicate()[0].split()
        assert process.returncode == -signal.SIGKILL, "the child must die in the middle"
        with store.writing(RUN, IDS) as writer:
            # It may have been killed between the write and the print.
            assert set(kept) <= set(writer.rows) and len(writer.rows) <= len(kept) + 3
            kept = list(writer.rows)
    with store.writing(RUN, IDS) as writer:
        writer.append([row(i) for i in IDS if i not in writer.rows])
        record = writer.finish({})
    assert list(record.predictions) == answered(IDS)
    assert len(record.sessions) == 3


@pytest.mark.parametrize("torn", [b'{"id":"s8","predic', b'{"id":"s8"}', b"\x00\x00\x00", b"{}\n"])
def test_a_torn_last_line_is_dropped_and_that_sample_asked_again(store, torn):
    fill(store, IDS[:8])
    journal = store.path(RUN.id, "jsonl")
    whole = journal.read_bytes()
    journal.write_bytes(whole + torn)
    with store.writing(RUN, IDS) as writer:
        assert list(writer.rows) == IDS[:8]
        assert journal.read_bytes() == whole
        writer.append([row(i) for i in IDS[8:]])
        record = writer.finish({})
    assert list(record.predictions) == answered(IDS)


LIMIT = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    fill(Store(sys.argv[1]), IDS)
except RunError as error:
    print(error)
    sys.exit(7)
"""


def test_a_full_disk_is_one_sentence_and_keeps_whole_samples_only(store):
    """The operating system refuses the write in the middle of a line."""
    line = len(json.dumps(row("s0"), separators=(",", ":"))) + 1
    process = child(LIMIT, store.folder, 10 * line)
    message, errors = process.communicate()
    assert process.returncode == 7, errors
    assert message.count("\n") == 1
    assert "file too large. 8 of 40 samples of gqa, dense are kept. Free some space" in message
    data = store.path(RUN.id, "jsonl").read_bytes()
    assert data.endswith(b"\n") and data.count(b"\n") == 2 + 8
    with store.writing(RUN, IDS) as writer:
        assert list(writer.rows) == IDS[:8]
        writer.append([row(i) for i in IDS[8:]])
        assert list(writer.finish({}).predictions) == answered(IDS)


@pytest.mark.parametrize(("room", "first"), [(100, []), (1500, [f"{RUN.id}.run.json"])])
def test_a_disk_that_fills_up_at_the_end_leaves_no_half_record(store, room, first):
    """Neither of the two files fits, or only the first."""
    with store.writing(RUN, IDS) as writer:
        writer.append([row(i) for i in IDS])
    process = child(LIMIT.replace("fill(Store(sys.argv[1]), IDS)", "finish(sys.argv[1])"),
                    store.folder, room)  # fmt: skip
    message, errors = process.communicate()
    assert process.returncode == 7, errors
    assert "40 of 40 samples of gqa, dense are kept" in message
    assert not store.has(RUN)
    names = {p.name for p in store.path(RUN.id).parent.iterdir()} - {f"{RUN.id}.lock"}
    assert names == {f"{RUN.id}.jsonl", *first}
    finish(store.folder)
    assert list(store.load(RUN).predictions) == answered(IDS)


def finish(folder):
    with Store(folder).writing(RUN, IDS) as writer:
        writer.finish({})


def _can_mount():
    if not shutil.which("unshare"):
        return False
    probe = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=64k none /tmp"]
    return subprocess.run(probe, capture_output=True).returncode == 0


@pytest.mark.skipif(not _can_mount(), reason="mounting a small disk is not allowed here")
def test_a_small_disk_that_fills_up_can_be_emptied_and_the_run_goes_on(tmp_path):
    """A real file system of 64 kB; the mount is private to the child and ends with it."""
    code = """
    store, long = Store(sys.argv[1]), {"prompt": "x" * 3000}
    def go_on():
        with store.writing(RUN, IDS) as writer:
            for i in IDS:
                if i not in writer.rows:
                    writer.append([row(i) | long])
            return writer.finish({})
    try:
        go_on()
    except RunError as error:
        print(error, flush=True)
    journal = store.path(RUN.id, "jsonl").read_bytes()
    assert journal.endswith(b"\\n"), journal[-50:]
    kept = journal.count(b"\\n") - 1  # the header
    os.system(f"mount -o remount,size=1m {sys.argv[1]}")
    assert list(go_on().predictions) == [one | long for one in answered(IDS)]
    print(kept)
    """
    mount = f'mount -t tmpfs -o size=64k none {tmp_path} && exec "$0" "$@"'
    process = child(code, tmp_path, wrapper=["unshare", "-rm", "sh", "-c", mount])
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    message, kept = output.splitlines()
    assert "no space left on device" in message
    assert f"{kept} of 40 samples of gqa, dense are kept" in message
    assert 5 < int(kept) < 40


def test_a_second_process_on_the_same_run_is_refused_until_the_first_is_gone(store):
    code = """
    with Store(sys.argv[1]).writing(RUN, IDS) as writer:
        writer.append([row("s0")])
        print("locked", flush=True)
        sys.stdin.readline()
    """
    first = child(code, store.folder)
    assert first.stdout.readline() == "locked\n"
    try:
        with pytest.raises(RunBusyError, match="another process is working on gqa, dense"):
            fill(store, IDS)
    finally:
        first.send_signal(signal.SIGKILL)  # a killed process holds nothing back
        first.communicate()
    with store.writing(RUN, IDS) as writer:
        assert list(writer.rows) == ["s0"]


def test_a_file_that_is_not_this_runs_is_refused_and_left_as_it_is(store):
    journal = store.path(RUN.id, "jsonl")
    journal.parent.mkdir(parents=True)
    for foreign in (b'{"answers of run":"another"}\n{"id":"s', b"no JSON\nat all"):
        journal.write_bytes(foreign)
        with pytest.raises(RunError, match="must begin with .*answers of run"):
            fill(store, IDS)
        assert journal.read_bytes() == foreign


def test_another_run_is_not_locked(store):
    other = replace(RUN, method="fastv", tokens=64)
    with store.writing(RUN, IDS), store.writing(other, IDS) as writer:
        assert writer.rows == {}


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_refused(store, monkeypatch, code):
    """A lock file that only stands there would outlive a killed job, and all others would wait."""

    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunError, match=r"runs is on a file system without file locks \(.+\)"):
        fill(store, IDS)
    assert not store.has(RUN) and not store.path(RUN.id, "jsonl").exists()


def test_a_damaged_or_misplaced_record_is_said_to_be_so(store):
    fill(store, IDS)
    path = store.path(RUN.id)
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(RunError, match="is damaged .*delete it and run"):
        store.load(RUN)
    other = replace(RUN, seed=1)
    for suffix in ("json", "run.json"):
        shutil.copy(store.path(RUN.id, suffix), store.path(other.id, suffix))
    path.write_text(text)
    store.path(other.id).write_text(text)
    with pytest.raises(RunError, match=f"holds run {RUN.id}"):
        store.load(other)
    path.write_text(text.replace('"batch":4', '"batches":4'))
    with pytest.raises(RunError, match="it differs in: batch, batches"):
        store.load(RUN)
