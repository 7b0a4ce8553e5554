"""The command `sparsevlm`: runs a sub-command, and says what went wrong in one sentence.

The sub-commands are in reproduction.py and tools.py, what they share in base.py.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from typer.exceptions import TyperException

from sparsevlm.cli import reproduction, tools  # noqa: F401  they declare the sub-commands
from sparsevlm.cli.base import DONE, FAILED, STOPPED, USAGE, UsageError, app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _joined(sys.argv[1:] if arguments is None else list(arguments))
    try:
        code = app(arguments, prog_name="sparsevlm", standalone_mode=False)
        if code != STOPPED:
            return code or DONE
        message = "stopped; what is finished is kept, the same command goes on"
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
