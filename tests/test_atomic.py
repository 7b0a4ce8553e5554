"""A file is written whole or not at all."""

from __future__ import annotations

import pytest

from sparsevlm.evaluation.results.atomic import replacing, write_text


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as partial:
        partial.write_text("whole")
        assert not path.exists() and partial.suffix == ".txt"
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as partial:
        partial.write_text("ha")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
