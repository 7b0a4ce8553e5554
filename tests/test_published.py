"""The paper's numbers are read from one file, and asked for by name."""

from __future__ import annotations

import csv

import pytest

from sparsevlm.analysis import published


def test_every_number_of_the_file_can_be_asked_for():
    with published.PUBLISHED.open(newline="") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        tokens = line["visual_tokens"]
        found = published.value(
            line["item"], line["method"], int(tokens) if tokens.isdigit() else tokens,
            line["measure"], version=line["paper_version"],
        )  # fmt: skip
        assert found == float(line["value"]), line  # also: no two lines of one name


def test_versions_are_kept_apart():
    item = ("table1", "SparseVLM", 64, "POPE")
    assert published.value(*item) != published.value(*item, version="v1")


def test_rows_are_of_one_model_and_version():
    rows = published.rows("table1")
    assert {row.model for row in rows} == {"LLaVA-1.5-7B"}
    assert {row.paper_version for row in rows} == {"v4"}


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (("table9", "SparseVLM", 64, "POPE"), "item 'table9'; known here: table1, "),
        (("table1", "SparseVLN", 64, "POPE"), "method 'SparseVLN'; known here: Dense, ToMe"),
        (("table1", "SparseVLM", 65, "POPE"), "visual_tokens 65; known here: 192, 128, 64"),
        (("table1", "SparseVLM", 64, "POKE"), "measure 'POKE'; known here: GQA, "),
    ],
)
def test_what_is_not_published_is_an_error_that_lists_what_is(question, message):
    with pytest.raises(ValueError, match=message):
        published.value(*question)


def test_a_setting_that_the_paper_lacks_is_an_error_that_lists_what_is():
    numbers = published.by_setting("figure5")
    assert numbers["sparsevlm", 64]["POPE"] == 77.5 and ("sparsevlm", 32) not in numbers
    with pytest.raises(KeyError, match="no row for .'sparsevlm', 32.; it has sparsevlm-all-tokens"):
        numbers["sparsevlm", 32]


def test_a_missing_file_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(published, "PUBLISHED", tmp_path / "no.csv")
    published._all_rows.cache_clear()
    with pytest.raises(FileNotFoundError, match="run from a clone of the repository"):
        published.rows("table1")
    published._all_rows.cache_clear()
