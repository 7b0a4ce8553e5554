"""What `sparsevlm check` finds of the machine: packages, GPU, space on the disks."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from packaging.version import Version

from sparsevlm.benchmarks import get_benchmark
from sparsevlm.cli.preflight_estimate import GIB, Needs
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.results.provenance import version_of

GB = 1e9
LEAST = {"torch": "2.11", "transformers": "5.17"}


@dataclass(frozen=True)
class Finding:
    """One line of the check: what was looked at, what was found, and what to do about it.

    Attributes
    ----------
    state : str
        "ok"; "missing", without which the profile does not run; "note", which costs something.
    fetch, size : str and float
        The name that `sparsevlm fetch` gets it by, "" where it is there; and the bytes that it will
        take on the disk, archives and tables together with what is unpacked out of them.
    """

    area: str
    what: str
    state: str = "ok"
    todo: str = ""
    fetch: str = ""
    size: float = 0.0

    def __str__(self) -> str:
        mark = {"ok": "OK     ", "missing": "MISSING", "note": "NOTE   "}[self.state]
        return f"{mark} {self.area}: {self.what}" + (f" -> {self.todo}" if self.todo else "")


def software(needs: Needs, quantization: str | None) -> Iterator[Finding]:
    """Look at Python and the packages."""
    yield Finding("python", platform.python_version())
    for package, least in LEAST.items():
        text = version_of(package)
        if text and Version(text) >= Version(least):
            yield Finding(package, text)
        else:
            yield Finding(package, text or "not there", "missing", f"install {least} or later")
    if any(get_benchmark(name).media == "video" for name in needs.benchmarks):
        yield _package("av", "reading videos", "pip install 'sparsevlm-repro[a100]'")
    if any(model.family == "mini_gemini" for model in needs.models.values()):
        for package in ("sentencepiece", "google.protobuf"):
            todo = "pip install 'sparsevlm-repro[a100]'"
            yield _package(package, "reading MGM's tokenizer.model", todo)
    if quantization:
        for package in ("accelerate", "bitsandbytes"):
            yield _package(package, "4 bits", "pip install 'sparsevlm-repro[quantised]'")


def _package(name: str, needed: str, todo: str) -> Finding:
    try:
        there = find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that it is in
        there = False
    shown = name.removeprefix("google.")
    if there:
        return Finding(shown, f"there, for {needed}")
    return Finding(shown, f"not there, needed for {needed}", "missing", todo)


def gpu(profile: Profile, needed: float) -> Iterator[Finding]:
    """Look at the GPU, its memory (`needed`, in GiB) and its driver."""
    driver = _driver()
    if driver:
        yield Finding("driver", driver)
    if not torch.cuda.is_available():
        why, todo = "this torch is a CPU build", "install torch for your CUDA (docs/a100.md)"
        if cuda := torch.version.cuda:
            why, todo = "torch sees none", f"the driver must fit CUDA {cuda}; look at nvidia-smi"
        state = "missing" if profile.device.startswith("cuda") else "note"
        yield Finding("gpu", why, state, todo)
        return
    for number in range(torch.cuda.device_count()):
        free, total = (n / GIB for n in torch.cuda.mem_get_info(number))
        what = f"{torch.cuda.get_device_name(number)}, {free:.0f} of {total:.0f} GiB free"
        todo = "" if free >= needed else "end other programs, or SPARSEVLM_QUANTIZATION=4bit"
        yield _enough(f"gpu {number}", f"{what}, about {needed:.0f} needed", todo)


def _driver() -> str:
    """Return the version of the NVIDIA driver, "" where there is none."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else ""


def disk(*wanted: tuple[str, Path, float]) -> Iterator[Finding]:
    """Look at the space on every disk that something of so many bytes is to be written to.

    The folders need not exist.
    """
    parts: dict[int, list[tuple[str, Path, float]]] = {}
    for what, where, size in wanted:
        while not where.exists():
            where = where.parent
        if size:
            parts.setdefault(where.stat().st_dev, []).append((what, where, size))
    for listed in parts.values():
        where, size = listed[0][1], sum(size for *_, size in listed)
        free = shutil.disk_usage(where).free
        each = ", ".join(f"{what} {one / GB:.1f}" for what, _, one in listed)
        what = f"{free / GB:.0f} GB free, about {size / GB:.0f} needed ({each})"
        todo = "" if free > size else "free some space, or keep them elsewhere"
        yield _enough(f"disk of {where}", what, todo)


def _enough(area: str, what: str, todo: str) -> Finding:
    """A finding that is ok where there is nothing to do."""
    return Finding(area, what, "missing" if todo else "ok", todo)
