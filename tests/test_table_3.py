"""Table 3 from records: the numbers, the comparison with the paper, what is written and drawn."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from sparsevlm.analysis import kinds
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.benchmarks import get_benchmark
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.run import EvaluationRun, Record
from sparsevlm.miniature.video_llava.questions import samples
from sparsevlm.models.sizes import ModelSizes
from sparsevlm.paper.tables import table_3_views
from sparsevlm.paper.tables.table_1 import settings_of
from sparsevlm.paper.tables.table_3 import from_records, published_relative, published_rows

PROFILE = get_profile("mini").for_study("table_3")
SHAPE = ModelSizes(layers=8, hidden=128, intermediate=352, heads=4)
SKILL = {"dense": 0.95, "sparsevlm": 0.8, "sparsevlm-video": 0.75, "fastv": 0.5, "random": 0.45}
samples_of = cache(samples)


def _record(benchmark, method, tokens, verdicts=False):
    """A record in which a method knows an answer if the question is easier than its skill."""
    rows = []
    for sample in samples_of(benchmark, 40, 0):
        ease = np.random.default_rng([*sample.id.encode()]).random()
        right = ease < SKILL[method]
        row = {
            **sample.to_json(),
            "prediction": sample.answer if right else "wrong",
            "tokens_in": [2056, 2056] + [tokens or 2056] * 14,
            "tokens_out": [2056] + [tokens or 2056] * 15,
            "text_tokens": 14,
        }
        if verdicts:
            row["verdict"] = {"pred": "yes" if right else "no", "score": 4 if right else 1}
        rows.append(row)
    run = EvaluationRun(
        model="mini-video-llava", revision="r", benchmark=benchmark, samples="v",
        num_samples=len(rows), seed=0, method=method, tokens=tokens, dtype="float32",
        pruner=f'{{"name":"{method}"}}', attention="sdpa", batch=16,
    )  # fmt: skip
    return Record(
        run, tuple(rows), get_benchmark(benchmark).score(rows), ({"commit": "c0ffee"},), 1.0
    )


@pytest.fixture(scope="module")
def records():
    return [_record(b, *setting) for setting in settings_of(PROFILE) for b in PROFILE.benchmarks]


@pytest.fixture(scope="module")
def results(records):
    return from_records(PROFILE, records, SHAPE)


def test_rows_are_dense_then_the_methods_at_194(results):
    settings = [(row.method, row.tokens) for row in results.rows]
    assert settings[0] == ("dense", None)
    assert settings[1:] == [(method, 194) for method in PROFILE.methods]


def test_percentages_are_of_the_dense_model_and_the_average_is_their_mean(results):
    dense = results.rows[0]
    assert dense.relative == Estimate(100, 100, 100) and dense.against_dense is None
    for row in results.rows:
        for name, percent in row.percent.items():
            assert percent.value == pytest.approx(100 * row.scores[name] / dense.scores[name])
            assert percent.low <= percent.value <= percent.high
        mean = np.mean([percent.value for percent in row.percent.values()])
        assert row.relative.value == pytest.approx(mean)


def test_differences_are_paired_and_in_points(results):
    rows = {row.method: row for row in results.rows}
    means = {name: np.mean(list(row.scores.values())) for name, row in rows.items()}
    ours = rows["sparsevlm"]
    assert ours.against_dense.value == pytest.approx(means["sparsevlm"] - means["dense"])
    assert ours.against_random.value == pytest.approx(means["sparsevlm"] - means["random"])
    assert ours.against_dense.high < 0 < ours.against_random.low
    assert rows["random"].against_random is None and rows["dense"].against_random is None


def test_flops_and_cache_come_from_the_tokens_that_enter_each_layer(results):
    sparse = next(row for row in results.rows if row.method == "sparsevlm")
    n = np.array([2056 + 14] * 2 + [194 + 14] * 14)
    assert sparse.flops == pytest.approx(
        (4 * n * 128**2 + 2 * n**2 * 128 + 3 * n * 128 * 352).sum()
    )
    assert sparse.kv == pytest.approx(n.sum() * 2 * 128 * 2)
    assert sparse.tokens_in == pytest.approx((2 * 2056 + 14 * 194) / 16)


def test_the_judge_is_shown_only_where_answers_were_judged(results, records):
    assert not results.rows[0].judged and "TGIF judge score" not in table_3_views.frame(results)
    assert "No answer was judged" in table_3_views.notes(results)
    judged = [
        _record(r.run.benchmark, r.run.method, r.run.tokens, verdicts=True)
        if r.run.benchmark == "tgif"
        else r
        for r in records
    ]
    table = from_records(PROFILE, judged, SHAPE)
    accuracy, score = table.rows[0].judged["tgif"]
    right = table.rows[0].scores["tgif"] / 100
    assert accuracy == pytest.approx(100 * right) and score == pytest.approx(4 * right + 1 - right)
    column = f"{get_benchmark('tgif').paper_column} judge score"
    assert table_3_views.readable(table)[column].iloc[0] == f"{score:.2f}"
    assert "No answer was judged" not in table_3_views.notes(table)


def test_the_paper_is_read_from_its_table_and_its_means_are_recomputed():
    assert published_rows()["SparseVLM"]["MSVD-QA_accuracy"] == 71.7
    assert published_relative("SparseVLM") == pytest.approx(95.0, abs=0.05)
    assert published_relative("FastV") == pytest.approx(80.3, abs=0.05)
    shown = table_3_views.readable_published()
    assert shown.loc[("194", "FastV"), "TGIF-QA score"] == "2.29"


def test_sentences_say_what_the_paper_says_and_what_is_measured(results):
    first, *_ = lines = table_3_views.sentences(results)
    gap = results.difference(("sparsevlm", 194), ("fastv", 194))
    assert "14.7 points" in first and f"{gap.value:+.1f} points" in first
    assert first.endswith("the measurement agrees.")
    assert sum("minus random tokens" in line for line in lines) == 2
    assert sum("minus the dense model" in line for line in lines) == len(PROFILE.methods)
    assert table_3_views.verdict(Estimate(1, -1, 3)) == "the measurement cannot tell"
    assert table_3_views.verdict(Estimate(-2, -3, -1)) == "the measurement contradicts it"


def test_files_say_that_they_are_of_a_miniature_and_keep_the_paper_apart(results, tmp_path):
    paths = table_3_views.save(results, tmp_path)
    assert [p.name for p in paths] == ["table_3.md", "table_3.csv", "table_3.html"]
    for path in paths:
        assert "miniature model, not Video-LLaVA" in path.read_text(), path
    page = paths[0].read_text()
    assert page.index("miniature") < page.index(table_3_views.PAPER_TITLE)
    data = pd.read_csv(io.StringIO(paths[1].read_text()))
    assert len(data) == len(results.rows) and data["KV (%)"].iloc[0] == 100
    assert "TGIF-QA accuracy" not in data  # the paper's column


def test_the_figure_shows_measured_and_published_apart(results):
    figure = table_3_views.figure(results)
    here, paper = figure.axes
    assert "miniature" in here.get_title() and "published" in paper.get_title()
    assert [t.get_text() for t in here.get_xticklabels()][-1] == "average"
    assert len(paper.lines) == 3  # FastV, SparseVLM, and the line at 100


def test_kinds_of_questions_are_counted_method_by_method(results, records):
    table = kinds.frame(results)
    assert table["questions"].sum() == 4 * 40
    one = next(r for r in records if (r.run.method, r.run.benchmark) == ("fastv", "tgif"))
    rows = [r for r in one.predictions if r["split"] == "count"]
    right = 100 * sum(r["prediction"] == r["answer"] for r in rows) / len(rows)
    assert table.loc[("TGIF-QA", "count"), "FastV"] == pytest.approx(right)
    assert 0 < right < 100 and list(table)[:2] == ["questions", "Dense"]


def test_kinds_at_several_budgets_are_refused(results):
    two = replace(results, profile=replace(results.profile, budgets=(194, 97)))
    with pytest.raises(ValueError, match="one budget"):
        kinds.frame(two)
