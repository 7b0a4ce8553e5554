"""Where a result comes from: commit, versions, device, time; and what a figure says of itself."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sparsevlm.evaluation.paths import ROOT

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
        `commit` (the last that changed a source; None outside a git checkout), `dirty` (True if a
        source differs from it, None if that is unknown), `versions` (Python and the packages that
        numbers depend on), `device`, `platform`, `time` (UTC, ISO 8601).
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
    """Return the commit and whether a source differs from it; (None, None) without git.

    The commit is the last one that changed a source, so that prose and figures do not change it.
    """
    commit = _git("log", "-1", "--format=%H", "--", *SOURCES)
    if not commit:
        return None, None
    changes = _git("status", "--porcelain", "--", *SOURCES)
    return commit, None if changes is None else bool(changes)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, timeout=30, check=True,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that numbers depend on."""
    return {"python": platform.python_version(), **{name: version_of(name) for name in PACKAGES}}


def version_of(package: str) -> str | None:
    """Return the version of an installed package, None for one that is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


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


def read(path: Path) -> dict[str, object]:
    """Return the provenance that `style.save_figure` wrote into a figure: a PDF, PNG or SVG.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is of another kind, or was not written by `save_figure`.
    """
    readers = {".pdf": _pdf_note, ".png": _png_note, ".svg": _svg_note}
    if path.suffix not in readers:
        raise ValueError(f"{path} is no figure of this suite; expected one of {', '.join(readers)}")
    try:
        note = json.loads(readers[path.suffix](path))
    except Exception as error:  # a broken file makes its reader raise anything
        if isinstance(error, OSError) and error.errno:
            raise
        note = None
    if not isinstance(note, dict) or "figure" not in note:
        raise ValueError(
            f"{path} carries no provenance: it was not written by `save_figure`, or another "
            "program has saved it since"
        )
    return note


def _png_note(path: Path) -> str:
    from PIL import Image

    with Image.open(path) as image:
        return str(image.info.get("Description", ""))


def _svg_note(path: Path) -> str:
    from xml.etree import ElementTree

    description = "{http://purl.org/dc/elements/1.1/}description"
    found = ElementTree.fromstring(path.read_bytes()).find(f".//{description}")
    return "" if found is None else found.text or ""


def _pdf_note(path: Path) -> str:
    """The subject in the information of a PDF; matplotlib leaves that part uncompressed."""
    found = re.search(rb"/Subject \(((?:[^\\()]|\\.)*)\)", path.read_bytes(), re.DOTALL)
    text = b"" if found is None else re.sub(rb"\\(.)", rb"\1", found[1], flags=re.DOTALL)
    return text.decode("latin-1")
