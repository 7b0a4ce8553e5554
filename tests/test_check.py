"""`check` finds what is missing or damaged among the bundled files."""

from __future__ import annotations

import hashlib

import pytest

from sparsevlm.analysis import published
from sparsevlm.cli.reproduction import missing_assets
from sparsevlm.miniature.registry import MINIATURES


@pytest.fixture
def miniatures(tmp_path):
    """A folder with every miniature, each of two files, and their checksums."""
    for model in MINIATURES:
        folder = tmp_path / model
        folder.mkdir(parents=True)
        lines = []
        for name in ("config.json", "model.safetensors"):
            (folder / name).write_text(name)
            lines.append(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n")
        (folder / "SHA256SUMS").write_text("".join(lines))
    return tmp_path


def test_whole_files_are_no_problem(miniatures):
    assert missing_assets(miniatures) == []


def test_a_damaged_file_is_named(miniatures):
    (miniatures / "mini-llava" / "model.safetensors").write_text("model.safetensorz")
    (problem,) = missing_assets(miniatures)
    assert "model.safetensors" in problem and "checksum" in problem


def test_no_model_at_all_is_a_problem(tmp_path):
    problems = missing_assets(tmp_path)
    assert len(problems) == len(MINIATURES)
    for problem in problems:
        assert "no miniature" in problem and "make train" in problem


def test_missing_published_numbers_are_a_problem(miniatures, monkeypatch, tmp_path):
    monkeypatch.setattr(published, "PUBLISHED", tmp_path / "no.csv")
    published._all_rows.cache_clear()
    (problem,) = missing_assets(miniatures)
    assert "the paper's numbers are missing" in problem
    published._all_rows.cache_clear()
