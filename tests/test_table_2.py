"""Table 2 from records: the numbers, the paper's rows, what is written and drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import published, study
from sparsevlm.paper.tables import table_2

PROFILE = narrowed("table_2", 40)
SKILL = {"dense": 0.95, "sparsevlm": 0.85, "fastv": 0.55, "random": 0.35}


def skill(setting, benchmark, number):
    method, tokens = setting
    return SKILL[method] - (0 if tokens is None else (600 - tokens) / 1000)


@pytest.fixture(scope="module")
def results():
    records = fabricate(PROFILE, skill, layers=8, visual=lambda number: 1300 + number % 3)
    return study.from_records(PROFILE, records, SHAPE)


def test_the_study_is_that_of_the_paper():
    assert PROFILE.benchmarks == ("mmbench", "pope", "textvqa")
    assert set(PROFILE.budgets) == {b for _, b in table_2.PAPER if b}
    assert PROFILE.model == "mini-qwen2-vl" and "not Qwen2-VL" in PROFILE.marker


def test_the_average_is_of_the_three_scores(results):
    scores = [results.value("score", ("sparsevlm", 500), name) for name in PROFILE.benchmarks]
    average = table_2.numbers(results).loc[("500", "SparseVLM"), "Avg"]
    assert average == pytest.approx(sum(scores) / 3)


def test_visual_tokens_are_those_of_the_dense_model(results):
    mean, low, high = table_2.mean_visual(results)["pope"]
    assert (low, high) == (1300, 1302) and low < mean < high
    text = table_2.page(results)[0].text
    assert "POPE 1301 (1300 to 1302)" in text and "MMB 1323, POPE 1311, TextVQA 1326" in text


def test_the_papers_rows_are_those_of_the_file():
    assert (
        table_2.PAPER["sparsevlm", 600]["POPE"]
        == published.value("table2", "SparseVLM", 600, "POPE")
        == 86.5
    )
    assert table_2.PAPER["dense", None]["average"] == 83.7
    expected = np.mean([100 * 79.6 / 80.5, 100 * 86.5 / 86.4, 100 * 80.3 / 84.3])
    assert table_2.published_retained(600) == pytest.approx(expected)
    shown = table_2.published_numbers()
    assert list(shown.index) == [
        ("all", "Dense"),
        *((str(b), "SparseVLM") for b in (600, 500, 400)),
    ]
    assert shown.loc[("400", "SparseVLM"), "Avg"] == 80.7
    assert not [c for c in shown if c.endswith("tokens")]


def test_the_claim_and_the_controls_in_one_grid(results):
    table = table_2.claim(results).table
    assert table.shape == (2 + 2 + 2, 3) and list(table.columns) == ["600", "500", "400"]
    assert table.loc[("SparseVLM", "Dense"), "600"].startswith("agrees -")
    paper = table.loc[("SparseVLM", "Dense, in the paper"), "600"]
    assert paper == f"{table_2.published_retained(600) - 100:+.1f}"
    assert table.loc[("SparseVLM", "SparseVLM at 500")].tolist()[1:] == ["–", "–"]
    assert table.loc[("SparseVLM", "SparseVLM at 500"), "600"].startswith("ahead +")
    assert table.loc[("SparseVLM", "Random"), "400"].startswith("ahead +")


def test_a_budget_that_the_paper_lacks_has_no_printed_number(results):
    fewer = replace(results, profile=replace(results.profile, budgets=(600,)))
    assert ("SparseVLM", "Dense, in the paper") in table_2.claim(fewer).table.index
    other = {("sparsevlm", 300): results.relative["sparsevlm", 400]}
    odd = replace(
        results,
        profile=replace(results.profile, budgets=(300,), methods=("sparsevlm",)),
        relative=results.relative | other,
    )
    (row,) = table_2.claim(odd).table.itertuples()
    assert row[0] == ("SparseVLM", "Dense") and row[1].startswith("behind -")


def test_the_files_are_written_whole_and_name_the_miniature(results, tmp_path):
    files = {p.name: p for p in table_2.REPORT.write(results, tmp_path)}
    assert set(files) == {f"table_2.{kind}" for kind in ("md", "csv", "html", "tex")}
    back = pd.read_csv(files["table_2.csv"])
    assert len(back) == 1 + 3 * 3 and back["model"].str.contains("not Qwen2-VL").all()
    page = files["table_2.md"].read_text()
    assert page.startswith("## mini-qwen2-vl (miniature model, not Qwen2-VL), ")
    assert f"## {table_2.PAPER_TITLE}" in page and "nan" not in page
    assert sum(line.startswith("| 400 | SparseVLM |") for line in page.splitlines()) == 2
    assert files["table_2.html"].read_text().count("<table") == 3
    before = [p.read_bytes() for p in files.values()]
    table_2.REPORT.write(results, tmp_path)
    assert [p.read_bytes() for p in files.values()] == before


def test_the_figure_says_which_panel_is_measured_and_which_published(results):
    here, paper = table_2.figure(results).axes
    assert here.get_title() == "measured: mini-qwen2-vl\nminiature model, not Qwen2-VL"
    assert paper.get_title() == "published: Qwen2-VL-7B\nTable 2 of the paper"
    expected = [table_2.published_retained(b) for b in (400, 500, 600)]
    np.testing.assert_allclose(paper.lines[0].get_ydata(), expected)
    labels = {container.get_label() for container in here.containers}
    assert labels == {"SparseVLM", "FastV", "Random"}
