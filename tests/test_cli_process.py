"""The command as a process: under a locale that knows ASCII only, and stopped by Ctrl-C."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from untrained import python

from sparsevlm.evaluation.paths import ROOT

# Of itself Python takes the locale C for UTF-8.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LATIN = {"PYTHONIOENCODING": "latin-1"}


CLAIM = ["claims", "table-1.tome.64.sqa"]


@pytest.mark.parametrize(
    ("command", "locale"),
    [(CLAIM, ASCII), (CLAIM, LATIN), (["check"], ASCII), (["list"], ASCII), (["fetch"], ASCII),
     (["reproduce", "--dry-run", "--only", "table_1"], ASCII)],
)  # fmt: skip
def test_every_command_prints_in_any_locale(command, locale):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    done = subprocess.run(
        [sys.executable, "-m", "sparsevlm", *command], cwd=ROOT, capture_output=True,
        env={**environment, **locale},
    )  # fmt: skip
    assert b"codec" not in done.stderr and b"Traceback" not in done.stderr
    assert done.returncode == (2 if command == ["fetch"] else 0), done.stderr
    if command[0] == "claims":
        assert (b"\xb1" if locale is LATIN else rb"\xb1") in done.stdout


def names_no_encoding(call: ast.Call) -> bool:
    """Whether a call opens, reads or writes text and leaves the encoding to the locale."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = {keyword.arg for keyword in call.keywords}
    if "encoding" in given:
        return False
    if name == "open":
        module = getattr(getattr(call.func, "value", None), "id", "")
        modes = [a.value for a in call.args if isinstance(a, ast.Constant)]
        binary = any("b" in str(mode) and len(str(mode)) < 4 for mode in modes)
        return not binary and module not in ("os", "Image", "av", "ImageInput", "examples")
    if name in ("read_text", "write_text"):  # or it is that of atomic.py
        return len(call.args) < (1 if name == "read_text" else 2)
    return name in ("run", "Popen", "check_output") and bool(given & {"text", "universal_newlines"})


def test_every_file_is_read_and_written_in_an_encoding_that_is_named():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in ("sparsevlm", "training", "workflow")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and names_no_encoding(node)
    ]
    assert not found


# --- Ctrl-C ------------------------------------------------------------------------------------

AT_IMPORT = """
import builtins, os, signal

imported, command, module = builtins.__import__, *sys.argv[1:]

def interrupted(name, *rest):
    if name == module:
        builtins.__import__ = imported
        os.kill(os.getpid(), signal.SIGINT)
    return imported(name, *rest)

builtins.__import__ = interrupted
sys.argv = ["sparsevlm", *command.split()]
from sparsevlm.cli.app import main

sys.exit(main())
"""
IN_EXEC = "exec('import os, signal; os.kill(os.getpid(), signal.SIGINT)')"


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("list", "typer"), ("list", "sparsevlm.methods"), ("claims --check", "pandas"),
        ("check", "numpy"), ("fetch --dry-run", "filelock"), ("bench", "torch"),
        ("reproduce --dry-run", "pydantic"), ("reproduce --dry-run", "multiprocessing"),
        ("provenance figures/figure_6.png", "PIL"),
        ("site", "jinja2"),
    ],
)  # fmt: skip
def test_ctrl_c_ends_a_command_with_130_and_one_line(command, module):
    done = python(AT_IMPORT, command, module)
    assert done.stderr == "sparsevlm: stopped; what is finished is kept, the same command goes on\n"
    assert done.returncode == 130


def test_ctrl_c_within_exec_does_not_end_python_by_the_signal():
    """As in the making of a dataclass: Python remembers it, whoever has caught it since."""
    code = f"import sparsevlm.cli.app as app\napp._run = lambda _: {IN_EXEC}\nsys.exit(app.main())"
    done = python(code)
    assert done.returncode == 130 and "Traceback" not in done.stderr


def test_ctrl_c_after_the_end_changes_nothing():
    late = "import atexit, os, signal\natexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
    done = python(f"{late}from sparsevlm.cli.app import main\nsys.argv = ['', 'list']\nmain()")
    assert (done.returncode, done.stderr) == (0, "")


WORKERS = """
import sys
from sparsevlm.cli import app, base, reproduction
from sparsevlm.evaluation.backends import MiniatureBackend
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.runs import ensure_records
from test_long_runs import PROFILE

def run(arguments):
    ensure_records(PROFILE, jobs=2, backend=MiniatureBackend(sys.argv[1]), store=Store(sys.argv[2]))

if __name__ == "__main__":
    app._run = run  # the rest is the command's own
    sys.exit(app.main())
"""


@pytest.mark.parametrize(
    ("everybody", "seconds"), [(True, 0.2), (False, 1.0)], ids=["of a terminal", "by a kill"]
)
def test_ctrl_c_while_workers_start_or_work_is_one_line(source, tmp_path, everybody, seconds):
    """The workers import for seconds; one that dies of it would be a traceback and exit code 1."""
    program = tmp_path / "program.py"
    program.write_text(WORKERS)
    running = subprocess.Popen(
        [sys.executable, str(program), source.folder, str(tmp_path / "store")], cwd=ROOT, text=True,
        stderr=subprocess.PIPE, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
    )  # fmt: skip
    try:
        for _ in range(3000):
            if len(psutil.Process(running.pid).children()) > 1:  # the first is multiprocessing's
                break
            time.sleep(0.01)
        time.sleep(seconds)
        (os.killpg if everybody else os.kill)(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=60)
    finally:
        running.kill()
    lines = [line for line in said.splitlines() if "samples" not in line and line]
    assert lines == ["sparsevlm: stopped; what is finished is kept, the same command goes on"]
    assert running.returncode == 130
