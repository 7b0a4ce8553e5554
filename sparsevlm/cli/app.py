"""The command `sparsevlm`: runs a sub-command, and says what went wrong in one sentence.

The sub-commands are in reproduction.py, fetching.py and tools.py, what they share in base.py.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

STOPPED = 130
INTERRUPTED = "sparsevlm: stopped; what is finished is kept, the same command goes on"

try:
    from typer.exceptions import TyperException

    from sparsevlm.cli import fetching, reproduction, tools  # noqa: F401  they declare the sub-commands
    from sparsevlm.cli.base import DONE, FAILED, USAGE, UsageError, app
except KeyboardInterrupt:  # the program has hardly begun
    print(INTERRUPTED, file=sys.stderr)
    sys.exit(STOPPED)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; without arguments, as the program itself."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # where there is only ASCII, ± is \\xb1
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(_joined(sys.argv[1:] if arguments is None else list(arguments)))
    except KeyboardInterrupt:
        code = STOPPED
    if code == STOPPED:
        print(INTERRUPTED, file=sys.stderr)
    if arguments is None:
        _end(code)
    return code


def _end(code: int) -> None:
    """Leave the program so that a late, or a second, Ctrl-C changes nothing of its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if code == STOPPED:  # at once: Python would end by the signal, or wait for threads
        from multiprocessing import active_children  # slow, and no Ctrl-C is heard above

        for worker in active_children():  # there are some after a second Ctrl-C only
            worker.kill()
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(code)


def _run(arguments: list[str]) -> int:
    try:
        return app(arguments, prog_name="sparsevlm", standalone_mode=False) or DONE
    except (UsageError, TyperException) as error:
        code = USAGE
        message = error.format_message() if isinstance(error, TyperException) else str(error)
    except Exception as error:
        if not _is_expected(error):
            raise
        code, message = FAILED, str(error)
    print(f"sparsevlm: {message}", file=sys.stderr)
    return code


def _joined(arguments: list[str]) -> list[str]:
    """Write papermill's `-p NAME VALUE` as the one word NAME=VALUE, as the parser wants it."""
    joined, rest = [], iter(arguments)
    for word in rest:
        joined.append(word)
        if word == "-p" and (name := next(rest, None)) is not None:
            value = None if "=" in name else next(rest, None)
            joined.append(name if value is None else f"{name}={value}")
    return joined


def _is_expected(error: Exception) -> bool:
    """Whether an error is meant for the user; any other is a bug and keeps its traceback.

    Errors of the system are, and the values and states that this package itself refuses. A
    ValueError from inside a library is not.
    """
    if isinstance(error, OSError):
        return True
    if not isinstance(error, ValueError | RuntimeError):
        return False
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and str(frame.tb_frame.f_globals.get("__name__")).startswith(
        ("sparsevlm.", "__main__")
    )
