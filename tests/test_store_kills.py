"""Killed before, in the middle of and after every step in which a run changes the disk."""

from __future__ import annotations

import ast
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import test_store
from untrained import die, python

from sparsevlm.evaluation.results import jsonl
from sparsevlm.evaluation.results.store import Store
from sparsevlm.models import atomic

RUN = replace(test_store.RUN, num_samples=8)
IDS = [f"s{i}" for i in range(8)]
STEPS = ("open", "write", "ftruncate", "fsync", "replace", "unlink")
HARMLESS = {"getpid", "close"}
OTHER_WAYS = {"write_text", "write_bytes", "unlink", "rename", "touch", "rmtree", "copy", "move"}


def answer_all(store: Store) -> None:
    """What a run does with a run: go on where the last one stopped, and finish."""
    store.tidy()
    if store.has(RUN):
        return
    with store.writing(RUN, IDS) as writer:
        if len(writer.rows) < len(IDS):
            writer.start_session({})
        for start in range(0, len(IDS), RUN.batch):
            rows = [test_store.row(i) for i in IDS[start : start + RUN.batch]]
            if new := [row for row in rows if row["id"] not in writer.rows]:
                writer.append(new)
        writer.finish({"score": 1.0})


class Deadly:
    """The module `os` as our modules see it; this process dies at the numbered step.

    What a library does below, or beside, is not counted: it differs between versions of Python.
    """

    def __init__(self, number: int, moment: str) -> None:
        self.reached: list[str] = []
        self._number, self._moment = number, moment

    def __getattr__(self, name: str):
        real = getattr(os, name)
        if name not in STEPS:
            return real

        def call(*arguments, **options):
            self.reached.append(name)
            if len(self.reached) != self._number:
                return real(*arguments, **options)
            try:
                if self._moment == "within" and name == "write":
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                elif self._moment == "within" and name == "fsync":  # what a lost power leaves
                    os.truncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
                elif self._moment == "after":
                    real(*arguments, **options)
            finally:
                die()

        return call


def answer_until(store: Store, number: int, moment: str) -> list[str]:
    """Run until the numbered step, and die there; number 0 is none, and all steps are returned."""
    deadly = Deadly(number, moment)
    atomic.os = jsonl.os = deadly
    try:
        answer_all(store)
    finally:
        atomic.os = jsonl.os = os
    return deadly.reached


def crash_points(steps: list[str]) -> list[tuple[int, str]]:
    """Every state that a kill can leave: before each step, within a write, after the last step.

    After any other step is before the next one.
    """
    points = []
    for number, name in enumerate(steps, start=1):
        points += [(number, "before")] + [(number, "within")] * (name in ("write", "fsync"))
    return [*points, (len(steps), "after")]


def die_everywhere(folder: Path) -> list[str]:
    """Kill one run at each crash point and let the next one finish it; returns the steps."""
    steps = answer_until(Store(folder / "undisturbed"), 0, "")
    for number, moment in crash_points(steps):
        store = Store(folder / f"{number}-{moment}")
        child = os.fork()
        if not child:
            answer_until(store, number, moment)
            os._exit(1)
        status = os.waitpid(child, 0)[1]
        assert os.WTERMSIG(status) == signal.SIGKILL, (store.folder.name, status)
        answer_all(store)
    return steps


def test_a_run_ends_with_the_same_bytes_wherever_it_was_killed(tmp_path):
    code = """
    import json
    from pathlib import Path
    from test_store_kills import die_everywhere
    print(json.dumps(die_everywhere(Path(sys.argv[1]))))
    """
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)
    append, file = ["write", "fsync"], ["open", "write", "open", "fsync", "replace", "unlink"]
    header, session, batches = ["open", "ftruncate", *append], append, 2 * append
    assert steps == [*header, *session, *batches, *file, *file, *["unlink"] * 3]
    expected = Store(tmp_path / "undisturbed").path(RUN.id).read_bytes()
    for number, moment in crash_points(steps):
        store = Store(tmp_path / f"{number}-{moment}")
        assert store.path(RUN.id).read_bytes() == expected, store.folder.name
        left = {path.name for path in store.path(RUN.id).parent.iterdir()}
        assert left == {f"{RUN.id}.json", f"{RUN.id}.run.json"}, store.folder.name
        assert 1 <= len(store.load(RUN).sessions) <= 2, store.folder.name


def test_nothing_changes_the_disk_but_by_a_step_that_is_a_crash_point():
    """The modules of the store call `os` for it, and nothing of `os` that is not in STEPS."""
    for path in [*Path(jsonl.__file__).parent.glob("*.py"), Path(atomic.__file__)]:
        counted = path.stem in ("atomic", "jsonl")
        allowed = {*STEPS, *HARMLESS} if counted else {"strerror"}
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                if isinstance(node.value, ast.Name) and node.value.id == "os":
                    fine = node.attr in allowed or (counted and node.attr.startswith("O_"))
                else:
                    fine = node.attr not in OTHER_WAYS
                assert fine, f"{path.name}, line {node.lineno}: {node.attr}"
