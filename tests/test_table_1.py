"""Table 1 from records: the numbers, the comparison with the paper, what is written and drawn."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import published, report, study, tables
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.words import cell, verdict
from sparsevlm.paper.extras.controls import by_answer
from sparsevlm.paper.tables import table_1
from sparsevlm.paper.tables.table_1 import CONTROLS, PAPER, orderings, ranking

METHODS = ("sparsevlm", "sparsevlm-all-text", "fastv", "pdrop", "tome", "random", "uniform")
PROFILE = narrowed("table_1", 40, methods=METHODS)
# ToMe is made the best and PDrop like FastV, so that the paper's ranking partly fails.
SKILL = {"dense": 0.9, "tome": 0.85, "sparsevlm": 0.7, "fastv": 0.45, "pdrop": 0.45}
SKILL |= {"random": 0.3, "uniform": 0.69, "sparsevlm-all-text": 0.72}


def from_records(records):
    return study.from_records(PROFILE, records, SHAPE, paper=PAPER)


@pytest.fixture(scope="module")
def records():
    return fabricate(PROFILE, SKILL, layers=8)


@pytest.fixture(scope="module")
def results(records):
    return from_records(records)


def test_rows_are_dense_then_every_method_by_budget(results):
    assert results.settings[:3] == [
        ("dense", None),
        ("sparsevlm", 192),
        ("sparsevlm-all-text", 192),
    ]
    assert len(results.settings) == 1 + 7 * 3


def test_scores_are_those_of_the_benchmarks(results, records):
    for record in records:
        setting = (record.run.method, record.run.tokens)
        score = results.value("score", setting, record.run.benchmark)
        assert score == pytest.approx(record.scores["score"])


def test_relative_accuracy_is_the_mean_of_percentages_of_dense(results):
    dense = study.DENSE_SETTING
    assert results.get("relative accuracy", dense) == Estimate(100, 100, 100)
    for setting in results.settings:
        found = results.get("relative accuracy", setting)
        expected = np.mean([
            100 * results.value("score", setting, b) / results.value("score", dense, b)
            for b in PROFILE.benchmarks
        ])  # fmt: skip
        assert found.value == pytest.approx(expected)
        assert found.low <= found.value <= found.high


def test_the_lead_of_sparsevlm_is_paired_and_at_the_same_budget(results):
    ahead = {method: results.find("ahead", (method, 64)) for method in METHODS}
    assert ahead["sparsevlm"] is None and results.find("ahead", study.DENSE_SETTING) is None
    assert ahead["random"].low > 0 and ahead["tome"].high < 0
    ours, other = (results.get("relative accuracy", (m, 64)) for m in ("sparsevlm", "random"))
    assert ahead["random"].value == pytest.approx(ours.value - other.value)
    # Nearly the same answers: paired, hardly any doubt is left; unpaired, each side's own would be.
    alike = ahead["uniform"]
    assert alike.high - alike.low < 0.4 * (ours.high - ours.low)


def test_flops_come_from_the_tokens_that_enter_each_layer(results):
    sparse = ("sparsevlm", 64)
    n = np.array([576 + 14] + [64 + 14] * 7)
    expected = (4 * n * 128**2 + 2 * n**2 * 128 + 3 * n * 128 * 352).sum()
    assert results.value("GFLOPs", sparse) == pytest.approx(expected / 1e9)
    assert results.value("tokens in", sparse) == pytest.approx((576 + 7 * 64) / 8)
    assert results.value("tokens out", sparse) == 64


def test_a_missing_record_or_other_samples_are_refused(records):
    with pytest.raises(ValueError, match="1 records are missing, among them"):
        from_records(records[1:])
    fewer = replace(records[-1], predictions=records[-1].predictions[:-1])
    with pytest.raises(ValueError, match="needs the same samples"):
        from_records([*records[:-1], fewer])


# Against the paper


def test_the_papers_rows_are_those_of_the_file():
    assert PAPER["sparsevlm", 64]["POPE"] == published.value("table1", "SparseVLM", 64, "POPE")
    assert PAPER["dense", None]["GQA"] == published.value("table1", "Dense", 576, "GQA")
    assert ("random", 64) not in PAPER


def test_every_pair_that_the_paper_ranks_is_compared_once(results):
    found = orderings(results)
    assert len(found) == 3 * 6
    assert {tokens for _, _, tokens in found} == {192, 128, 64}
    assert not {"Random", "Uniform grid", "Dense"} & {name for *pair, _ in found for name in pair}


def test_orderings_are_reproduced_contradicted_or_undecided(results):
    verdicts = {key: verdict(apart) for key, apart in orderings(results).items()}
    assert verdicts["SparseVLM", "FastV", 64] == "reproduced"
    assert verdicts["SparseVLM", "ToMe", 64] == "contradicted"
    assert verdicts["PDrop", "FastV", 64] == "cannot tell"
    counts = [
        list(verdicts.values()).count(v) for v in ("reproduced", "contradicted", "cannot tell")
    ]
    assert ranking(results).text.startswith(
        f"Of the paper's 18 pairwise orderings the measurement reproduces {counts[0]}, "
        f"contradicts {counts[1]}, and cannot tell {counts[2]}."
    )


def test_the_ranking_is_a_grid_of_pairs_by_budgets(results):
    grid = ranking(results).table
    assert list(grid.columns) == ["192", "128", "64"]
    apart = orderings(results)["SparseVLM", "FastV", 64].value
    assert grid.loc[("SparseVLM", "FastV"), "64"] == f"agrees {apart:+.1f}"
    assert grid.loc[("SparseVLM", "ToMe"), "64"].startswith("contradicts -")
    assert grid.loc[("PDrop", "FastV"), "64"].startswith("cannot tell")
    assert grid.loc[("SparseVLM", "Random (control)"), "64"].startswith("ahead +")
    # Each pair once a budget, whichever of the two the paper has above there.
    assert (grid.iloc[:-3] != "–").sum().tolist() == [6, 6, 6]


@pytest.mark.parametrize(
    ("estimate", "shown", "whole"),
    [
        (Estimate(5.24, 3.1, 7.4), "agrees +5.2", "agrees +5.2 [+3.1, +7.4]"),
        (Estimate(-5, -7, -3), "contradicts -5.0", "contradicts -5.0 [-7.0, -3.0]"),
        (Estimate(1, -1, 3), "cannot tell +1.0", "cannot tell +1.0 [-1.0, +3.0]"),
        (Estimate(0, 0, 0), "cannot tell +0.0", "cannot tell +0.0 [+0.0, +0.0]"),
        (Estimate(float("nan"), float("nan"), float("nan")), "–", "–"),
    ],
)
def test_a_difference_is_a_cell(estimate, shown, whole):
    assert cell(estimate) == shown and cell(estimate, interval=True) == whole


def test_controls_compare_accuracy_and_single_answers(results):
    found = by_answer(results, CONTROLS)
    assert len(found) == 9
    points, only_ours, only_random, p_value = found.loc[("64", "Random")]
    apart = results.difference(("sparsevlm", 64), ("random", 64))
    assert points == tables.interval(apart, "+") and apart.low > 0
    # Harder questions are answered only by the more skilled, so no answer is lost.
    assert only_ours > 50 and only_random == 0 and float(p_value) < 1e-9


def test_partial_credit_is_left_out_of_the_count_of_single_answers(records, results):
    def first_fact_only(record):
        if (record.run.benchmark, record.run.method) != ("mmvet", "sparsevlm"):
            return record
        rows = tuple({**row, "prediction": row["answers"][0]} for row in record.predictions)
        return replace(record, predictions=rows)

    partial, whole = (
        by_answer(one, CONTROLS)["right with SparseVLM only"]
        for one in (from_records(map(first_fact_only, records)), results)
    )
    assert (partial <= whole).all() and partial.sum() < whole.sum()


# Views


def test_the_tables_have_the_papers_columns_in_its_order(results):
    eight = ["GQA", "MMB", "MME", "POPE", "SQA", "SEED", "TextVQA", "MMVet"]
    ours, paper = tables.numbers(results), tables.published(results)
    assert list(ours.columns[:8]) == list(paper.columns[:8]) == eight
    assert list(ours.index) == list(paper.index)
    assert ours.index[0] == ("all", "Dense") and ("64", "Uniform grid") in ours.index
    assert paper.loc[("64", "SparseVLM"), "POPE"] == 77.5
    assert paper.loc[("64", "Random")].isna().all()
    assert ours.loc[("all", "Dense"), "FLOPs (%)"] == 100


def test_markdown_marks_the_miniature_and_shows_both_tables(results):
    page = report.markdown(table_1.page(results))
    lines = page.splitlines()
    assert lines[0] == (
        "## mini-llava-32 (miniature model, not LLaVA-1.5), 38–40 questions per benchmark"
    )
    assert sum(line.startswith("| 64 | SparseVLM |") for line in lines) == 2
    widths = {line.count("|") for line in lines if line.startswith("|")}
    assert len(widths) == 3
    assert "| 192 | Random | – | –" in page
    assert "MME is in points, at most 1000 here and 2800 in the paper." in page
    assert "Measured at commit c0ffee." in page
    assert sum("| agrees" in line or "| contradicts" in line for line in lines) >= 4


def test_a_model_that_cannot_answer_at_all_gives_dashes_not_numbers(records):
    def mute(record):
        rows = tuple({**row, "prediction": "?"} for row in record.predictions)
        return replace(record, predictions=rows) if record.run.benchmark == "gqa" else record

    page = report.markdown(table_1.page(from_records(map(mute, records))))
    assert "nan" not in page
    assert "reproduces 0, contradicts 0, and cannot tell 18." in page


def test_the_files_are_written_whole_and_read_back(results, tmp_path):
    files = {p.name: p for p in table_1.REPORT.save(results, tmp_path)}
    drawn = {f"table_1.{kind}" for kind in ("pdf", "png", "svg", "data.csv")}
    assert set(files) == drawn | {f"table_1.{kind}" for kind in ("md", "csv", "html", "tex")}
    back = pd.read_csv(files["table_1.csv"])
    assert len(back) == 1 + 7 * 3 and "miniature" in back["model"][0]
    ours = tables.numbers(results)["Acc. (%)"].to_numpy()
    np.testing.assert_allclose(back["Acc. (%)"], ours)
    page = files["table_1.html"].read_text()
    assert page.count("<table") == 3 and "not LLaVA-1.5" in page and "as published" in page
    written = [p.read_bytes() for p in files.values()]
    table_1.REPORT.save(results, tmp_path)
    assert [p.read_bytes() for p in files.values()] == written, "the same results, the same files"


def test_the_tables_for_latex_are_whole_and_escaped(results, tmp_path):
    text = next(p for p in table_1.REPORT.save(results, tmp_path) if p.suffix == ".tex").read_text()
    assert text.count("\\begin{tabular}") == text.count("\\toprule") == 3
    assert text.startswith("% mini-llava-32 (miniature model, not LLaVA-1.5), ")
    assert "Acc. (\\%)" in text and not re.search(r"(?m)^[^%\n].*[^\\][%_#]", text)
    first = text.split("\\midrule")[1].split("\\bottomrule")[0].strip().splitlines()
    assert {line.count("&") for line in first} == {15} and first[0].startswith("all & Dense & ")
    assert first[1].startswith("192 & SparseVLM &") and first[2].startswith(" & ")


def test_the_figure_says_which_panel_is_measured_and_which_published(results):
    fig = table_1.figure(results)
    here, paper = fig.axes
    assert here.get_title() == "measured: mini-llava-32\nminiature model, not LLaVA-1.5"
    assert paper.get_title() == "published: LLaVA-1.5-7B\nTable 1 of the paper"
    drawn = {line.get_label(): line for line in paper.lines}
    assert set(drawn) == {"SparseVLM", "FastV", "PDrop", "ToMe", "Dense"}
    np.testing.assert_allclose(drawn["SparseVLM"].get_ydata(), [89.3, 96.7, 99.1])
    measured = [results.value("relative accuracy", ("random", b)) for b in PROFILE.budgets]
    random = next(c for c in here.containers if c.get_label() == "Random")
    np.testing.assert_allclose(random.lines[0].get_ydata().astype(float), measured[::-1])
    assert here.get_ylim() == paper.get_ylim()
