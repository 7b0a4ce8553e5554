"""A small rehearsal of the a100 profile: one table, one figure and the explorer; `make rehearse`
is the whole."""

from __future__ import annotations

import csv
import json

import pytest
from rehearsal.run import OF_MINIATURES, ROOT, Rehearsal, faults

NOTEBOOKS = ("table_4", "figure_1", "explore")


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    found = Rehearsal(tmp_path_factory.mktemp("rehearsal") / "all", jobs=1)
    found.prepare(2, ["llava-7b"], ["gqa", "pope"])
    return found


def test_all_is_found_ready(rehearsal):
    said = rehearsal.sparsevlm("check", "--profile", "a100", "--only", ",".join(NOTEBOOKS))
    assert "check: ready to start" in said and "MISSING" not in said
    assert "token for token" in said and "no real data" not in said


def test_notebooks_by_plain_papermill(rehearsal):
    assert rehearsal.notebooks(NOTEBOOKS) == {}
    folder = rehearsal.suite / "figures" / "a100"
    with (folder / "table_4.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} == {
        "llava-hf/llava-1.5-7b-hf (GQA, POPE: drawn, for a rehearsal), 2 questions per benchmark"
    }
    assert all(row["score"] for row in rows)
    for name in ("table_4", "figure_1", "explore"):
        assert (folder / f"{name}.pdf").stat().st_size > 0
    claims = rehearsal.sparsevlm("claims")
    assert "measured in part" in claims


@pytest.mark.parametrize(
    "path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem
)
def test_a_notebooks_own_text_holds_for_every_profile(path):
    """What holds for a miniature only is in its remarks, which show where one has answered."""
    if path.stem not in OF_MINIATURES:
        assert faults(json.loads(path.read_text())) == []


def test_a_word_of_the_miniatures_and_an_error_are_faults():
    def notebook(text):
        output = {"output_type": "display_data", "data": {"text/html": [text]}}
        return {"cells": [{"cell_type": "code", "source": [], "outputs": [output]}]}

    assert faults(notebook("Mini-Gemini-7B, 64 tokens")) == []
    assert faults(notebook("<td>the miniature</td>")) == ["cell 1 says 'miniature'"]
    assert json.dumps(faults(notebook("mini-llava-32"))) == "[\"cell 1 says 'mini-llava'\"]"
