"""Where a result comes from: commit, versions, device, time."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version

from sparsevlm.reproduce.paths import ROOT

# What a result depends on. Figures, tables and prose are left out: writing them, which is what a
# run does, must not make the next result of the same run "dirty".
SOURCES = ("sparsevlm", "notebooks/src", "data", "pyproject.toml", "requirements.lock",
           "requirements-torch.txt")  # fmt: skip
PACKAGES = ("sparsevlm-repro", "torch", "transformers", "tokenizers", "numpy", "pillow")


def collect() -> dict[str, object]:
    """Describe this run, as plain JSON values.

    Returns
    -------
    dict
        `commit` (None outside a git checkout), `dirty` (True if a source differs from the
        commit, None if that is unknown), `versions` (Python and the packages that numbers depend
        on), `device`, `platform`, `time` (UTC, ISO 8601).
    """
    commit, dirty = git_state()
    return {
        "commit": commit,
        "dirty": dirty,
        "versions": versions(),
        "device": device(),
        "platform": platform.platform(),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def git_state() -> tuple[str | None, bool | None]:
    """Return the commit and whether a source differs from it; (None, None) without git."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None, None
    changes = _git("status", "--porcelain", "--", *SOURCES)
    return commit, None if changes is None else bool(changes)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that numbers depend on."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def device() -> str:
    """Return the accelerator's name where torch is loaded and sees one, else the processor's."""
    torch = sys.modules.get("torch")  # not imported for this: reading results needs no torch
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return _processor()


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
