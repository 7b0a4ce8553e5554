"""Provenance: of a git checkout, and without one."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime, timezone

import pytest

from sparsevlm.evaluation.results import provenance


def git(folder, *arguments):
    subprocess.run(
        ["git", "-c", "user.name=n", "-c", "user.email=e", *arguments],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git checkout with one source and one figure, in place of this repository."""
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "sparsevlm").mkdir()
    (tmp_path / "sparsevlm" / "code.py").write_text("x = 1\n")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "f.svg").write_text("<svg/>")
    return tmp_path


def test_without_git_the_commit_is_unknown(checkout):
    assert provenance.git_state() == (None, None)


def test_a_clean_checkout_a_new_figure_and_a_changed_source(checkout):
    git(checkout, "init")
    git(checkout, "add", ".")
    git(checkout, "commit", "-m", "first")
    commit, dirty = provenance.git_state()
    assert len(commit) == 40 and dirty is False

    (checkout / "figures" / "f.svg").write_text("<svg>new</svg>")
    assert provenance.git_state() == (commit, False)  # what a run writes is no change of source
    git(checkout, "commit", "-a", "-m", "a new figure")
    assert provenance.git_state() == (commit, False)  # nor is it another commit

    (checkout / "sparsevlm" / "code.py").write_text("x = 2\n")
    assert provenance.git_state() == (commit, True)


def test_it_is_json_with_versions_device_and_time():
    found = json.loads(json.dumps(provenance.collect()))
    assert set(found) == {"commit", "dirty", "versions", "device", "platform", "time"}
    assert found["versions"]["torch"] and found["versions"]["python"] and found["device"]
    age = datetime.now(timezone.utc) - datetime.fromisoformat(found["time"])
    assert 0 <= age.total_seconds() < 60


def _figure(folder, name="probe (1)"):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from sparsevlm.analysis import style

    fig, axes = plt.subplots(figsize=(2, 2))
    axes.plot([1, 2])
    files = style.save_figure(fig, name, "mini", ["run-b", "run-a"], folder=folder)
    plt.close(fig)
    return files


def test_a_figure_tells_its_provenance_in_all_formats(tmp_path):
    notes = [provenance.read(path) for path in _figure(tmp_path)]
    assert len(notes) == 3 and notes[0] == notes[1] == notes[2]
    assert notes[0]["figure"] == "probe (1)" and notes[0]["cells"] == ["run-a", "run-b"]
    assert notes[0]["versions"] == provenance.versions()


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_file_of_another_program_has_none(tmp_path, kind):
    from PIL import Image

    path = tmp_path / f"other.{kind}"
    if kind == "svg":
        path.write_text("<svg/>")
    else:
        Image.new("RGB", (2, 2)).save(path)
    with pytest.raises(ValueError, match="carries no provenance"):
        provenance.read(path)


def test_what_is_no_figure_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected one of .pdf, .png, .svg"):
        provenance.read(tmp_path / "table.csv")
    with pytest.raises(FileNotFoundError):
        provenance.read(tmp_path / "none.png")
    (tmp_path / "broken.svg").write_text("<svg")
    with pytest.raises(ValueError, match="carries no provenance"):
        provenance.read(tmp_path / "broken.svg")
