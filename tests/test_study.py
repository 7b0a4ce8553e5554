"""A study from records: paired numbers, comparisons in words, pages, analytic columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm import METHODS
from sparsevlm.analysis import accounting, report, statistics, study, tables, words
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.style import METHOD_STYLE
from sparsevlm.benchmarks import get_benchmark
from sparsevlm.paper.extras import controls

PROFILE = narrowed(
    "controls", benchmarks=("pope", "textvqa"), methods=("sparsevlm", "random"), budgets=(64,)
)
SKILL = {"dense": 0.95, "sparsevlm": 0.7, "random": 0.4}


@pytest.fixture(scope="module")
def records():
    return fabricate(PROFILE, SKILL)


@pytest.fixture(scope="module")
def results(records):
    return study.from_records(PROFILE, records, SHAPE)


def test_scores_and_their_differences_are_paired(results):
    ours, other = ("sparsevlm", 64), ("random", 64)
    for name in PROFILE.benchmarks:
        apart = results.score_difference(name, ours, other)
        ends = [results.get("score", setting, name) for setting in (ours, other)]
        assert apart.value == pytest.approx(ends[0].value - ends[1].value)
        assert ends[0].value == results.records[(*ours, name)].scores["score"]
        same = results.score_difference(name, ours, ours)
        assert same == Estimate(0, 0, 0), "paired: a method differs from itself by nothing at all"
    assert results.difference(ours, other) == results.get("ahead", other)
    assert results.find("ahead", ours) is None
    assert results.find("ahead", study.DENSE_SETTING) is None


def test_another_method_can_be_the_studys_own(records, results):
    turned = study.from_records(PROFILE, records, SHAPE, ours="random")
    assert turned.find("ahead", ("random", 64)) is None
    there, back = turned.get("ahead", ("sparsevlm", 64)), results.get("ahead", ("random", 64))
    assert (there.value, there.low, there.high) == pytest.approx(
        (-back.value, -back.high, -back.low)
    )
    assert "Random ahead by" in tables.numbers(turned)


def test_the_frame_holds_every_number_once_with_its_source(records):
    paper = {("sparsevlm", 64): {"POPE": 77.5, "relative_accuracy_percent": 89.3}}
    results = study.from_records(PROFILE, records, SHAPE, paper=paper)
    frame, names = results.frame, PROFILE.benchmarks
    key = ["benchmark", "method", "tokens", "measure"]
    assert tuple(frame) == study.COLUMNS and not frame.duplicated(key).any()
    assert set(frame["study"]) == {"controls"} and set(frame["model"]) == {"mini-llava-32"}
    ours = frame[(frame["method"] == "sparsevlm") & (frame["tokens"] == 64)]
    (pope,) = ours[(ours["measure"] == "score") & (ours["benchmark"] == "pope")].itertuples()
    record = results.records["sparsevlm", 64, "pope"]
    assert pope.value == pytest.approx(record.scores["score"]) and pope.low < pope.value
    assert (pope.n, pope.paper, pope.source) == (len(record.predictions), 77.5, record.id)
    (whole,) = ours[ours["measure"] == "relative accuracy"].itertuples()
    percents = ours[ours["measure"] == "percent"]["value"]
    assert whole.value == pytest.approx(percents.mean()) and whole.paper == 89.3
    assert whole.n == sum(len(results.records["sparsevlm", 64, n].predictions) for n in names)
    assert len(whole.source.split()) == len(names)
    assert frame["paper"].notna().sum() == 2, "no other number of it is in the paper"
    with pytest.raises(KeyError):
        results.get("ahead", ("sparsevlm", 64))


def test_a_missing_record_is_named(records):
    with pytest.raises(ValueError, match=r"1 records are missing, among them \('dense', None"):
        study.from_records(PROFILE, records[1:], SHAPE)


def test_the_ids_are_those_of_the_records(records, results):
    assert sorted(results.ids) == sorted(record.id for record in records)


# Words


def test_every_method_has_the_same_name_in_tables_and_figures():
    assert {name: METHOD_STYLE[name].label for name in METHODS} == {
        name: method.label for name, method in METHODS.items()
    }


@pytest.mark.parametrize(
    ("estimate", "verdict"),
    [
        (Estimate(2, 1, 3), "reproduced"),
        (Estimate(-2, -3, -1), "contradicted"),
        (Estimate(1, -1, 3), "cannot tell"),
        (Estimate(float("nan"), float("nan"), float("nan")), "cannot tell"),
    ],
)
def test_a_verdict_needs_an_interval_without_zero(estimate, verdict):
    assert words.verdict(estimate) == verdict


def test_signs_are_counted_only_where_they_are_certain():
    found = [Estimate(2, 1, 3), Estimate(-2, -3, -1), Estimate(1, -1, 3), Estimate(4, 2, 5)]
    assert words.count_signs(found, "A", "B") == (
        "Of 4 comparisons of A with B, A is ahead by more than chance in 2 and behind in 1; "
        "1 cannot tell."
    )


def test_controls_that_were_not_run_are_left_out(results):
    found = controls.by_answer(results, ("random", "uniform"))
    assert list(found.index) == [("64", "Random")]
    # The harder questions are answered only by the more skilled, so no answer is lost.
    _, only_ours, only_control, _ = found.iloc[0]
    assert only_ours > 0 and only_control == 0


# Pages


def test_notes_explain_only_what_the_table_has(results):
    text = report.notes(results)
    assert "MME" not in text and "MM-Vet" not in text
    assert text.endswith("Measured at commit c0ffee.")


def test_a_section_is_shown_in_a_notebook_without_the_heading_of_its_cell(results):
    table = report.Section("A <table>", tables.readable(results), "Text.")._repr_html_()
    assert "A &lt;table&gt;" in table and "<p>Text.</p>" in table and "<h2>" not in table
    assert report.Section("Said", sentences=["First."])._repr_html_().split() == [
        "<ul>", "<li>First.</li>", "</ul>",
    ]  # fmt: skip


def test_a_page_is_written_whole_in_four_forms(results, tmp_path):
    table = tables.readable(results)
    parts = [
        report.Section("One", table, "How to read it."),
        report.Section("Two", sentences=["First.", "Second."]),
    ]
    probe = report.Report("probe", lambda results: parts, None)
    files = probe.write(results, tmp_path)
    page, numbers, html, tex = (path.read_text(encoding="utf-8") for path in files)
    assert [path.suffix for path in files] == [".md", ".csv", ".html", ".tex"]
    assert tex.count("\\toprule") == 1 and tex.startswith("% One\n% How to read it.\n\\begin")
    assert page.startswith("## One\n\n| budget | method |") and "\n\n## Two\n\n- First.\n" in page
    assert html.count("<table") == 1 and html.count("<li>") == 2 and "<h2>Two</h2>" in html
    assert len(pd.read_csv(files[1])) == len(results.settings) and "Acc. low" in numbers
    other = replace(PROFILE, name="mini-8")
    (first, *_) = probe.write(replace(results, profile=other), tmp_path)
    assert first == tmp_path / "mini-8" / "probe.md"


def test_a_published_table_has_flops_only_where_the_paper_has(results):
    paper = dict.fromkeys(results.settings, {"POPE": 80.0})
    bare = tables.published(replace(results, paper=paper))
    assert list(bare.columns) == ["POPE", "TextVQA", "Acc. (%)"]
    assert bare["POPE"].tolist() == [80.0] * 3 and bare["TextVQA"].isna().all()
    assert tables.as_text(bare).loc[("64", "Random"), "TextVQA"] == "–"


# Analytic columns


def test_all_13_flops_values_of_the_paper_come_out():
    table = accounting.numbers()
    assert len(table) == 13
    np.testing.assert_allclose(table["TFLOPs"], table["TFLOPs, paper"], atol=0.03)
    for (budget, _), row in table.iloc[1:].iterrows():
        assert abs(row["tokens out"] - int(budget)) < 1
    ours = table.loc[("192", "SparseVLM")]
    assert ours["ms, paper (A100)"] == 36.50
    assert ours["KV (MB)"] == accounting.kv_megabytes_entering("sparsevlm", 192)


def test_columns_without_a_published_number_are_left_out():
    shown = accounting.section(["sparsevlm-plus", "random"], [64]).table
    assert "–" in shown.loc[("64", "Random")].tolist()  # the dense row has what the paper prints
    assert shown.loc[("all", "Dense"), "TFLOPs, paper"] == "4.62"
    with pytest.raises(ValueError, match="follow the question, so no formula gives them"):
        accounting.numbers(["sparsevlm-v1.0"], [64])


def test_the_draws_of_a_benchmark_are_shared_by_all_methods(results, records):
    by_run = {(r.run.method, r.run.tokens, r.run.benchmark): r for r in records}
    for place, name in enumerate(PROFILE.benchmarks):
        benchmark = get_benchmark(name)
        for setting in study.settings_of(PROFILE):
            rows = by_run[(*setting, name)].predictions
            table = statistics.stats_of_groups(rows, benchmark.sample_stats)
            drawn = statistics.resampled_scores(
                table, benchmark.aggregate, seed=statistics.SEED + place
            )
            np.testing.assert_array_equal(results.scores[(*setting, name)], drawn)
