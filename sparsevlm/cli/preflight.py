"""`sparsevlm check --profile a100`: is everything there, and what will it take?

Looks at versions, GPU, disk, checkpoints, data and judge, and estimates every table, before
anything long starts. Reads sizes and, of the tokenizers, contents; `fetch --check` reads weights.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from packaging.version import Version

from sparsevlm.benchmarks.loaders import layout_of, verify
from sparsevlm.cli.preflight_estimate import GIB, Setting, TimeEstimate, estimate, studies_of
from sparsevlm.evaluation.backends import CheckpointBackend
from sparsevlm.evaluation.judges.endpoint import KEY_VARIABLE, default_address, is_local
from sparsevlm.evaluation.paths import RESULTS
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.models.checkpoints.declared import Checkpoint, find
from sparsevlm.models.checkpoints.places import CheckpointError, locate

GB = 1e9
LEAST = {"torch": "2.11", "transformers": "5.17"}


@dataclass(frozen=True)
class Finding:
    """One line of the check.

    Attributes
    ----------
    area, what : str
        What was looked at, and what was found.
    state : str
        "ok"; "missing", without which the profile does not run; "note", which costs something.
    todo : str
        What to do about it; "" for "ok".
    """

    area: str
    what: str
    state: str = "ok"
    todo: str = ""

    def __str__(self) -> str:
        mark = {"ok": "OK     ", "missing": "MISSING", "note": "NOTE   "}[self.state]
        return f"{mark} {self.area}: {self.what}" + (f" -> {self.todo}" if self.todo else "")


def main(profile: Profile, source: CheckpointBackend | None = None, say: Callable = print) -> int:
    """Print what is there, then estimates; 0 if nothing is missing, else 1."""
    source = source or CheckpointBackend()
    studies = studies_of(profile)
    settings = [setting for study in studies.values() for setting in study]
    models = {name: find(name) for name in dict.fromkeys(s.model for s in settings)}
    whole = estimate(settings, models, source.quantization)
    lacking = 0
    for finding in chain(
        software(models, source), gpu(profile, whole), checkpoints(models, source),
        data(settings, source), disk(whole, models, source), [judge()],
    ):  # fmt: skip
        say(str(finding))
        lacking += finding.state == "missing"
    say("")
    say(
        "Estimates for one A100-80G at batch 1, not measurements (preflight_estimate.py says from "
        f"what), profile {profile.slug}:"
    )
    for name, study in studies.items():
        say(_line(name, estimate(study, models, source.quantization)))
    say(_line("all", whole))
    say("Runs that several tables share are run once, so all is less than the sum.")
    say("")
    say("check: ready to start" if not lacking else f"check: {lacking} thing(s) missing")
    return 1 if lacking else 0


def _line(name: str, e: TimeEstimate) -> str:
    return (
        f"  {name:<12} {e.runs:>4} runs {e.answers:>9,} answers {e.hours:>7.1f} GPU hours "
        f"{e.gib:>5.0f} GiB of GPU memory {e.disk / GB:>5.1f} GB of results"
    )


def software(models: dict[str, Checkpoint], source: CheckpointBackend) -> Iterator[Finding]:
    """Look at Python and the packages."""
    yield Finding("python", platform.python_version())
    for package, least in LEAST.items():
        text = _version(package)
        if text and Version(text) >= Version(least):
            yield Finding(package, text)
        else:
            yield Finding(package, text or "not there", "missing", f"install {least} or later")
    families = {model.family for model in models.values()}
    if "video_llava" in families:
        yield _package("av", "reading videos", "pip install 'sparsevlm-repro[a100]'")
    if "mini_gemini" in families:
        for package in ("sentencepiece", "google.protobuf"):
            todo = "pip install 'sparsevlm-repro[a100]'"
            yield _package(package, "reading MGM's tokenizer.model", todo)
    if source.quantization:
        for package in ("accelerate", "bitsandbytes"):
            yield _package(package, "4 bits", "pip install 'sparsevlm-repro[quantised]'")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _package(name: str, needed: str, todo: str) -> Finding:
    try:
        there = find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that it is in
        there = False
    shown = name.removeprefix("google.")
    if there:
        return Finding(shown, f"there, for {needed}")
    return Finding(shown, f"not there, needed for {needed}", "missing", todo)


def gpu(profile: Profile, needed: TimeEstimate) -> Iterator[Finding]:
    """Look at the GPU, its memory and its driver."""
    import torch

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
        todo = "" if free >= needed.gib else "end other programs, or SPARSEVLM_QUANTIZATION=4bit"
        yield _enough(f"gpu {number}", f"{what}, about {needed.gib:.0f} needed", todo)


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


def checkpoints(models: dict[str, Checkpoint], source: CheckpointBackend) -> Iterator[Finding]:
    """Look at every checkpoint, and whether its tokenizer puts the image where it belongs."""
    for model in models.values():
        whole = True
        for repository in model.repositories:
            try:
                where = locate(repository, Path(source.checkpoints))
                yield Finding(repository.id, f"complete in {where}")
            except CheckpointError as error:
                whole = whole and not repository.required
                state = "missing" if repository.required else "note"
                yield Finding(repository.id, "not complete", state, str(error))
        if whole:
            yield from prompts(model, source)


def prompts(model: Checkpoint, source: CheckpointBackend) -> Iterator[Finding]:
    """Compare a prompt or more of every benchmark, token for token, with the official ones."""
    from sparsevlm.models.checkpoints.contents import family_and_config
    from sparsevlm.models.checkpoints.loading import builder_of, files_of
    from sparsevlm.models.prompts.official import differences, prompts_of

    folder = Path(source.checkpoints)
    area = f"prompts of {model.short}"
    try:
        family, config = family_and_config(model.name, folder)
        builder = builder_of(family, config, files_of(model.name, folder)[0])
        wrong = list(differences(family, builder))
    except (CheckpointError, OSError, ValueError) as error:
        yield Finding(area, "cannot be made", "missing", str(error).splitlines()[0])
        return
    todo = (
        f"`sparsevlm fetch --check {model.short}` looks at the tokenizer's files; if they are the "
        "release's, use the packages of requirements.lock"
    )
    yield from (Finding(area, str(difference), "missing", todo) for difference in wrong)
    if not wrong:
        benchmarks = dict.fromkeys(prompt["benchmark"] for prompt in prompts_of(family))
        what = f"those of {', '.join(benchmarks)} are the official ones, token for token"
        yield Finding(area, what)


def data(settings: list[Setting], source: CheckpointBackend) -> Iterator[Finding]:
    """Look at the data folder of every benchmark."""
    for name in dict.fromkeys(setting.benchmark for setting in settings):
        folder = Path(source.data) / layout_of(name).folder
        if wrong := verify(name, folder, complete=source.complete):
            yield Finding(f"data of {name}", "not complete", "missing", wrong[0])
        else:
            yield Finding(f"data of {name}", f"complete in {folder}")


def disk(
    needed: TimeEstimate, models: dict[str, Checkpoint], source: CheckpointBackend
) -> Iterator[Finding]:
    """Look at the space for what is still to be fetched, and for results."""
    folder, to_fetch = Path(source.checkpoints), 0
    for repository in (r for model in models.values() for r in model.repositories):
        try:
            locate(repository, folder)
        except CheckpointError:
            to_fetch += repository.about_bytes
    for area, where, size in (
        ("disk for checkpoints", folder, to_fetch),
        ("disk for results", RESULTS, needed.disk),
    ):
        while not where.exists():
            where = where.parent
        free = shutil.disk_usage(where).free
        todo = "" if free > size else "free some space, or keep them elsewhere"
        yield _enough(area, f"{free / GB:.0f} GB free, about {size / GB:.0f} needed", todo)


def _enough(area: str, what: str, todo: str) -> Finding:
    """A finding that is ok where there is nothing to do."""
    return Finding(area, what, "missing" if todo else "ok", todo)


def judge() -> Finding:
    """Look at the address of a judge and at its key, which a server on this machine does not need.

    Without a judge, answers are matched.
    """
    from httpx import URL

    address, todo = default_address(), (
        "MM-Vet and the video sets are matched by rule; for judged scores set it, or "
        "OPENAI_BASE_URL to a server on this machine, or use `sparsevlm judge open`"
    )  # fmt: skip
    if not is_local(address) and not os.environ.get(KEY_VARIABLE):
        return Finding("judge", f"{KEY_VARIABLE} is not set", "note", todo)
    url = URL(address)
    try:
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        socket.create_connection((url.host, port), timeout=5).close()
    except (OSError, KeyError) as error:
        todo = "start the server, or check OPENAI_BASE_URL and the network"
        return Finding("judge", f"{address} cannot be reached ({error})", "note", todo)
    key = "it needs no key" if is_local(address) else f"{KEY_VARIABLE} is set"
    return Finding("judge", f"{address} answers and {key}")
