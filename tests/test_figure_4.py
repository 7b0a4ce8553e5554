"""Figure 4 from records: curves, the paper's points, what is said, written and drawn."""

from __future__ import annotations

import pandas as pd
import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import published, study
from sparsevlm.analysis.words import verdict
from sparsevlm.paper.figures import figure_4

PROFILE = narrowed("figure_4", 40)
SKILL = {"dense": 1.0, "sparsevlm": 1.0, "fastv": 0.5, "tome": 0.97, "random": 1.2}
SPLITS = ("text", "small text")


def skill(setting, benchmark, number):
    method, tokens = setting
    small = benchmark == "textvqa" and number % 2
    return SKILL[method] - (0 if tokens is None else (256 - tokens) / (300 if small else 600))


def split(row, benchmark, number):
    return {**row, "split": SPLITS[number % 2]} if benchmark == "textvqa" else row


@pytest.fixture(scope="module")
def results():
    return study.from_records(PROFILE, fabricate(PROFILE, skill, layers=16, change=split), SHAPE,
                              paper=figure_4.PAPER)  # fmt: skip


def test_the_study_is_that_of_the_paper():
    rows = published.rows("figure4")
    assert {row.visual_tokens for row in rows} == {576, *PROFILE.budgets}
    assert len(PROFILE.benchmarks) == len({row.measure for row in rows}) == 3
    assert PROFILE.model == "mini-gemini" and "not Mini-Gemini" in PROFILE.marker


def test_the_papers_points_are_those_of_the_file():
    assert figure_4.published_score(("sparsevlm", 64), "pope") == 60.3
    assert figure_4.published_score(("dense", None), "gqa") == 62.4
    assert figure_4.published_score(("random", 64), "gqa") is None


def test_every_comparison_of_the_figure_gets_its_cell(results):
    found = figure_4.orderings(results)
    assert len(found) == 2 * 3 * 5, "two rivals, three benchmarks, five budgets"
    assert verdict(found["POPE", "FastV", 256]) == "reproduced"
    ranking = figure_4.ranking(results)
    assert ranking.table.loc[("POPE", "FastV"), "256"].startswith("agrees +")
    assert ranking.table.shape == (6, 5)
    counts = [
        sum(verdict(lead) == kind for lead in found.values())
        for kind in ("reproduced", "contradicted")
    ]
    assert counts[1] == 0 and counts[0] >= 15
    assert f"reproduces {counts[0]}, contradicts 0, and" in ranking.text


def test_mean_leads_stand_beside_those_of_the_papers_points(results):
    table = figure_4.leads(results).table
    assert table.shape == (2 + 2 + 1, 5) and table.loc["SparseVLM"].loc["FastV", "256"].startswith(
        "agrees +"
    )
    # From the points: (84.0-68.0)/85.8, (64.2-58.5)/65.1, (61.1-54.9)/62.4, mean 12.4 %.
    assert table.loc[("SparseVLM", "FastV, in the paper"), "256"] == "+12.4"
    assert table.loc[("SparseVLM", "Random"), "64"].startswith("behind -"), (
        "random is ahead in these records"
    )


def test_small_print_is_counted_apart(results):
    table = figure_4.by_split(results)
    assert list(table.columns) == ["small text (20)", "text (20)"]
    assert (table.loc[("all", "Dense")] == 100).all()
    few = table.loc[("64", "SparseVLM")]
    assert few["small text (20)"] < few["text (20)"] < 100


def test_the_data_of_the_figure_keep_measured_and_published_apart(results):
    data = figure_4.data(results)
    measured = data[data.source == "measured"]
    assert len(measured) == 3 * (1 + 4 * 5) and measured["score low"].notna().all()
    assert measured.model.str.contains("not Mini-Gemini").all()
    paper = data[data.source == "published"]
    assert len(paper) == 3 * (1 + 3 * 5) and set(paper.model) == {"Mini-Gemini-7B"}
    assert paper["score low"].isna().all() and "random" not in set(paper.method)


def test_the_figure_draws_a_column_per_benchmark_with_the_paper_below(results):
    figure = figure_4.figure(results)
    above, below = figure.axes[:3], figure.axes[3:]
    names = ("POPE", "TextVQA", "GQA")
    assert [axes.get_title() for axes in above] == [f"{name}, measured" for name in names]
    assert [axes.get_title() for axes in below] == [f"{name}, published" for name in names]
    about = figure.legends[0].get_title().get_text()
    assert "not Mini-Gemini" in about and "published: Mini-Gemini-7B" in about
    assert len({axes.get_ylim() for axes in figure.axes}) == 1, "one scale"
    assert [len(axes.containers) for axes in above] == [4, 4, 4]
    curves = [line.get_label() for line in below[1].lines]
    assert curves == ["SparseVLM", "FastV", "ToMe", "Dense"]
    pope = below[0].lines[0]
    assert list(pope.get_xdata()) == [64, 96, 128, 192, 256] and pope.get_ydata()[0] == 60.3


def test_a_method_at_zero_is_explained_by_its_answers():
    def mute(setting, benchmark, number):
        return 0.0 if setting[0] == "fastv" and benchmark != "gqa" else skill(setting, benchmark, 0)

    def no(row, benchmark, number):
        wrong = row["prediction"] != row["answer"]
        return {**row, "prediction": "no"} if benchmark == "pope" and wrong else row

    records = fabricate(PROFILE, mute, layers=16, change=no)
    results = study.from_records(PROFILE, records, SHAPE, paper=figure_4.PAPER)
    reasons = figure_4.reasons_for_zero(results)
    assert reasons["fastv", "textvqa"] == "FastV: 100 % “wrong”"
    assert set(reasons) == {("fastv", "pope"), ("fastv", "textvqa")}
    assert reasons["fastv", "pope"].endswith("“no”")
    drawn = [text.get_text() for text in figure_4.figure(results).axes[1].texts]
    assert drawn == ["FastV: 100 % “wrong”"]


def test_files_hold_both_tables(results, tmp_path):
    paths = figure_4.REPORT.write(results, tmp_path)
    assert [path.name for path in paths] == [
        "figure_4.md", "figure_4.csv", "figure_4.html", "figure_4.tex",
    ]  # fmt: skip
    page = paths[0].read_text()
    assert "mini-gemini (miniature model, not Mini-Gemini)" in page
    assert "read off the published figure" in page and "| 256 | FastV | 68.0 |" in page
    assert "Does the ranking hold?" in page and "small text (20)" in page
    table = pd.read_csv(paths[1])
    assert len(table) == 21 and table.model.str.contains("not Mini-Gemini").all()
