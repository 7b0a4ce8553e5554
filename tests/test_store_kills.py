"""Killed before, in the middle of and after every single write, rename and removal of a run."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from itertools import count
from pathlib import Path

import test_store
from untrained import die, python

from sparsevlm.evaluation.results.store import Store

CELL = replace(test_store.CELL, num_samples=8)
IDS = [f"s{i}" for i in range(8)]
CALLS = ("write", "ftruncate", "fsync", "replace", "unlink")
MOMENTS = ("before", "within", "after")


def answer_all(store: Store) -> None:
    """What a run does with a run: go on where the last one stopped, and finish."""
    store.tidy()
    if store.has(CELL):
        return
    with store.writing(CELL, IDS) as writer:
        if len(writer.rows) < len(IDS):
            writer.start_session({})
        for start in range(0, len(IDS), CELL.batch):
            rows = [test_store.row(i) for i in IDS[start : start + CELL.batch]]
            if new := [row for row in rows if row["id"] not in writer.rows]:
                writer.append(new)
        writer.finish({"score": 1.0})


def kill_at(number: int, moment: str) -> list[str]:
    """Let this process die at the numbered call to the disk; returns a list that its name gets."""
    reached: list[str] = []
    for name in CALLS:
        setattr(os, name, _deadly(name, getattr(os, name), reached, number, moment))
    return reached


def _deadly(name, real, reached, number, moment):
    def call(*arguments, **options):
        reached.append(name)
        if len(reached) != number:
            return real(*arguments, **options)
        try:
            if moment == "within" and name == "write":
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            elif moment == "within" and name == "fsync":  # what a lost power leaves of a file
                os.truncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
            elif moment == "after":
                real(*arguments, **options)
        finally:
            die()

    return call


def die_everywhere(folder: Path) -> list[str]:
    """Kill one run at each call and moment, let the next one finish; returns "call moment"."""
    died = []
    for number in count(1):
        for moment in MOMENTS:
            store = Store(folder / f"{number}-{moment}")
            child = os.fork()
            if not child:
                reached = kill_at(number, moment)
                answer_all(store)
                os._exit(0 if len(reached) < number else 1)
            status = os.waitpid(child, 0)[1]
            if status == 0:  # it was through before the numbered call
                return died
            assert os.WTERMSIG(status) == signal.SIGKILL, (store.folder.name, status)
            died.append(f"{number}-{moment}")
            answer_all(store)
    raise AssertionError("unreachable")


def test_a_cell_ends_with_the_same_bytes_wherever_its_run_was_killed(tmp_path):
    undisturbed = Store(tmp_path / "undisturbed")
    answer_all(undisturbed)
    expected = undisturbed.path(CELL.id).read_bytes()
    code = """
    import json
    from pathlib import Path
    from test_store_kills import die_everywhere
    print(json.dumps(die_everywhere(Path(sys.argv[1]))))
    """
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    names = json.loads(done.stdout)
    assert len(names) > 3 * 12, "session, two batches, two files with their renames, removals"
    for name in names:
        store = Store(tmp_path / name)
        assert store.path(CELL.id).read_bytes() == expected, name
        left = {path.name for path in store.path(CELL.id).parent.iterdir()}
        assert left == {f"{CELL.id}.json", f"{CELL.id}.run.json"}, name
        assert 1 <= len(store.load(CELL).sessions) <= 2, name
