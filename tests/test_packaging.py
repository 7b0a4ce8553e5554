"""The pins agree with each other, and nothing shipped belongs to one machine."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sparsevlm.evaluation.paths import ROOT

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

LOCK = ROOT / "requirements.lock"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def direct_dependencies() -> list[Requirement]:
    """What `make` installs by name: the core, and the extras that the lock holds."""
    extras = project()["optional-dependencies"]
    names = [*project()["dependencies"], *extras["notebooks"], *extras["a100"], *extras["dev"]]
    return [Requirement(name) for name in names]


def locked() -> list[Requirement]:
    text = LOCK.read_text().replace("\\\n", " ")
    return [Requirement(line.split(" --hash")[0]) for line in text.splitlines() if line.strip()]


def locked_for(python: str) -> dict[str, str]:
    """Versions by name on Linux under one Python."""
    environment = {
        "python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux",
        "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64",
        "implementation_name": "cpython", "platform_python_implementation": "CPython",
    }  # fmt: skip
    found: dict[str, str] = {}
    for requirement in locked():
        marker: Marker | None = requirement.marker
        if marker is None or marker.evaluate(environment):
            name = canonicalize_name(requirement.name)
            assert name not in found, f"two versions of {name} under Python {python}"
            found[name] = str(requirement.specifier).removeprefix("==")
    return found


def torch_pin() -> str:
    lines = (ROOT / "requirements-torch.txt").read_text().splitlines()
    (pin,) = [line for line in lines if line and not line.startswith("#")]
    return pin


def test_lock_names_no_host_and_no_folder():
    text = LOCK.read_text()
    assert not re.search(r"https?://|file:|--(index|find|extra|trusted)", text)


def test_every_locked_package_is_exact_and_hashed():
    entries = LOCK.read_text().replace("\\\n", " ").splitlines()
    unhashed = [line.split(" --hash")[0] for line in entries if "--hash=sha256:" not in line]
    inexact = [str(r) for r in locked() if not re.fullmatch(r"==[\w.]+", str(r.specifier))]
    assert (unhashed, inexact) == ([], [])


def test_lock_leaves_torch_and_its_libraries_to_the_machine():
    belongs = re.compile(r"torch|torchvision|torchaudio|triton|nvidia-|cuda-")
    assert [r.name for r in locked() if belongs.match(r.name)] == []
    assert re.fullmatch(r"torch==\d+\.\d+\.\d+", torch_pin())


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_meets_every_direct_dependency_under(python):
    versions = locked_for(python)
    for requirement in direct_dependencies():
        if requirement.name == "torch":
            assert requirement.specifier.contains(torch_pin().removeprefix("torch=="))
            continue
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), (requirement, version)


def test_environment_yml_is_in_step_with_the_lock():
    lines = (ROOT / "environment.yml").read_text().splitlines()
    entries = [line.strip()[2:] for line in lines if line.strip().startswith("- ")]
    (python,) = [entry.split("=")[1] for entry in entries if entry.startswith("python=")]
    assert python in PYTHONS
    pins = dict(entry.split("==") for entry in entries if "==" in entry)
    versions = locked_for(python)
    expected = {
        requirement.name: torch_pin().removeprefix("torch==")
        if requirement.name == "torch"
        else versions[canonicalize_name(requirement.name)]
        for requirement in direct_dependencies()
    }
    assert pins == expected
    assert "--editable ." in entries


def test_python_range_is_the_same_everywhere():
    assert project()["requires-python"] == f">={PYTHONS[0]},<3.{int(PYTHONS[-1][2:]) + 1}"
    makefile = (ROOT / "Makefile").read_text()
    assert "(3, 10) <= sys.version_info[:2] < (3, 14)" in makefile
    for page in ("README.md", "docs/a100.md"):
        assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in (ROOT / page).read_text()
    tested = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    assert f"python: {json.dumps(PYTHONS)}" in tested, "every version that we name is run"


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make as a user would: also from inside `make test`."""
    clean = {key: text for key, text in os.environ.items() if "MAKE" not in key and key != "MFLAGS"}
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, env=clean)


def test_makefile_says_so_when_python_is_too_old(tmp_path):
    old = tmp_path / "python-of-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make("lint", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode != 0
    assert "Python 3.10 to 3.13 is needed" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_makefile_installs_nothing_when_the_stamp_is_there(tmp_path):
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    pins = b"".join(
        (ROOT / name).read_bytes()
        for name in ("requirements-torch.txt", "requirements.lock", "pyproject.toml")
    )
    checksum = subprocess.run(["cksum"], input=pins, capture_output=True).stdout.split()[0]
    (venv / f"installed-{checksum.decode()}").touch()
    done = make("--dry-run", "reproduce", f"VENV={venv}")
    assert done.stdout.splitlines() == [f"{venv}/bin/sparsevlm reproduce --profile mini"]


def test_the_command_that_is_installed_is_the_one_of_the_module():
    from sparsevlm import __main__ as module

    home, _, name = project()["scripts"]["sparsevlm"].partition(":")
    assert getattr(importlib.import_module(home), name) is module.main


def test_make_help_names_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())
    shown = set(re.findall(r"make ([a-z]+)", make("help").stdout))
    assert targets - shown == {"help", "lint"}


def test_ci_runs_what_a_developer_runs():
    script = (ROOT / ".ci" / "run").read_text()
    assert script.startswith("#!/usr/bin/env bash\n") and "exec make test" in script


def shipped_files() -> list[Path]:
    """Files in git, and those that a commit would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout: what is shipped cannot be told from what lies about")
    return [path for name in listed.stdout.split("\0") if (path := ROOT / name).is_file()]


def test_nothing_shipped_names_a_machine_or_a_package_host():
    # Put together here, so that this file does not name them.
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "download.pytorch" + ".org",
             "anaconda" + ".org", "npmjs" + ".org"]  # fmt: skip
    places = ["../" + "shared", f"{ROOT}/", "/root" + "/", "/opt" + "/pypi"]
    if len(Path.home().parts) > 1:
        places.append(f"{Path.home()}/")
    pip_options = ["--index" + "-url", "--find" + "-links", "--trusted" + "-host"]
    found = []
    for path in shipped_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        words = [word for word in (*hosts, *places, *pip_options) if word in text]
        found += [f"{path.relative_to(ROOT)}: {word}" for word in words]
    assert found == []


def test_licence_and_citation_are_whole():
    licence = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in licence and "END OF TERMS AND CONDITIONS" in licence
    assert "The sparsevlm-repro authors" in licence
    citation = (ROOT / "CITATION.cff").read_text()
    assert "arXiv:2410.04417" in citation and f"version: {project()['version']}" in citation
