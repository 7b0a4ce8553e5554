"""A study from records: paired numbers, comparisons in words, pages, analytic columns."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from sparsevlm import METHODS
from sparsevlm.analysis import accounting as claims_analytic
from sparsevlm.analysis import statistics, study, study_views, study_words
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.style import METHOD_STYLE
from sparsevlm.benchmarks import get_benchmark
from sparsevlm.evaluation.profiles import Profile, get_profile
from sparsevlm.evaluation.results.run import EvaluationRun, Record
from sparsevlm.miniature.registry import get_miniature
from sparsevlm.models.sizes import ModelSizes
from sparsevlm.paper.tables import study_analytic

SHAPE = ModelSizes(layers=8, hidden=128, intermediate=352, heads=4)
LAYERS = 4


@cache
def samples_of(model: str, benchmark: str, n: int) -> list:
    """Samples of a miniature's benchmark, made once."""
    return get_miniature(model).samples(benchmark, n, 0)


def narrowed(study_name: str, n: int = 24, **changes: object) -> Profile:
    """A study of the miniature with few samples."""
    return replace(get_profile("mini").for_study(study_name), samples_per_benchmark=n, **changes)


def fabricate(profile: Profile, skill: dict, left: dict | None = None) -> list[Record]:
    """Records in which a method knows an answer if the question is easier than its skill.

    `skill` is by (method, tokens), or by method for all budgets; `left` gives the tokens that a
    setting leaves where they are not its budget.
    """
    return [
        _record(profile, benchmark, setting, skill, left or {})
        for setting in study.settings_of(profile)
        for benchmark in profile.benchmarks
    ]


def _record(profile, benchmark, setting, skill, left):
    method, tokens = setting
    known = skill.get(setting, skill.get(method))
    out = left.get(setting, tokens or 576)
    rows = []
    for sample in samples_of(profile.model, benchmark, profile.samples_per_benchmark):
        ease = np.random.default_rng([len(benchmark), *sample.group.encode()]).random()
        wrong = {"yes": "no", "no": "yes"}.get(sample.answer, "wrong")
        rows.append(
            {
                **sample.to_json(),
                "prediction": sample.answer if ease < known else wrong,
                "tokens_in": [576] + [out] * (LAYERS - 1),
                "tokens_out": [out] * LAYERS,
                "text_tokens": 14,
            }
        )
    run = EvaluationRun(
        model=profile.model, revision="r", benchmark=benchmark, samples="v", num_samples=len(rows),
        seed=0, method=method, tokens=tokens, pruner=f'{{"name":"{method}"}}', dtype="float32",
        attention="sdpa", batch=16,
    )  # fmt: skip
    score = get_benchmark(benchmark).score(rows)
    return Record(run, tuple(rows), score, ({"commit": "c0ffee"},), 1.0)


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
        ends = [results.score(setting, name) for setting in (ours, other)]
        assert apart.value == pytest.approx(ends[0].value - ends[1].value)
        assert ends[0].value == results.row(ours).scores[name]
        same = results.score_difference(name, ours, ours)
        assert same == Estimate(0, 0, 0), "paired: a method differs from itself by nothing at all"
    assert results.difference(ours, other) == results.row(other).ahead
    assert results.row(ours).ahead is None and results.row(study.DENSE_SETTING).ahead is None


def test_another_method_can_be_the_studys_own(records, results):
    turned = study.from_records(PROFILE, records, SHAPE, ours="random")
    assert turned.row(("random", 64)).ahead is None
    there, back = turned.row(("sparsevlm", 64)).ahead, results.row(("random", 64)).ahead
    assert (there.value, there.low, there.high) == pytest.approx(
        (-back.value, -back.high, -back.low)
    )
    assert "Random ahead by" in study_views.frame(turned)


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
    assert study_words.verdict(estimate) == verdict
    chance = study_words.maybe_chance(estimate)
    assert bool(chance) == (verdict == "cannot tell")


def test_signs_are_counted_only_where_they_are_certain():
    found = [Estimate(2, 1, 3), Estimate(-2, -3, -1), Estimate(1, -1, 3), Estimate(4, 2, 5)]
    assert study_words.count_signs(found, "A", "B") == (
        "Of 4 comparisons of A with B, A is ahead by more than chance in 2 and behind in 1; "
        "1 cannot tell."
    )


def test_controls_that_were_not_run_are_left_out(results):
    found = study_words.controls(results, ("random", "uniform"))
    assert [(c.tokens, c.control) for c in found] == [(64, "Random")]
    # The harder questions are answered only by the more skilled, so no answer is lost.
    assert found[0].answers.only_first > 0 and found[0].answers.only_second == 0


# Pages


def test_notes_explain_only_what_the_table_has(results):
    text = study_views.notes(results)
    assert "MME" not in text and "MM-Vet" not in text
    assert text.endswith("Measured at commit c0ffee.")


def test_a_page_is_written_whole_in_three_forms(results, tmp_path):
    table = study_views.readable(results)
    parts = [
        study_views.Section("One", table, "How to read it."),
        study_views.Section("Two", sentences=["First.", "Second."]),
    ]
    files = study_views.save("probe", PROFILE, study_views.frame(results), parts, tmp_path)
    page, numbers, html = (path.read_text(encoding="utf-8") for path in files)
    assert [path.name for path in files] == ["probe.md", "probe.csv", "probe.html"]
    assert page.startswith("## One\n\n| budget | method |") and "\n\n## Two\n\n- First.\n" in page
    assert html.count("<table") == 1 and html.count("<li>") == 2 and "<h2>Two</h2>" in html
    assert len(pd.read_csv(files[1])) == len(results.rows) and "Acc. low" in numbers
    other = replace(PROFILE, name="mini-8")
    (first, *_) = study_views.save("probe", other, study_views.frame(results), parts, tmp_path)
    assert first == tmp_path / "mini-8" / "probe.md"


def test_a_published_table_has_flops_only_where_the_paper_has(results):
    bare = study_views.published_frame(results, lambda method, tokens: {"POPE": 80.0})
    assert list(bare.columns) == ["POPE", "TextVQA", "Acc. (%)"]
    assert bare["POPE"].tolist() == [80.0] * 3 and bare["TextVQA"].isna().all()
    assert study_views.readable_published(bare).loc[("64", "Random"), "TextVQA"] == "–"


# Analytic columns


def test_all_13_flops_values_of_the_paper_come_out():
    table = study_analytic.frame()
    assert len(table) == 13
    np.testing.assert_allclose(table["TFLOPs"], table["TFLOPs, paper"], atol=0.03)
    for (budget, _), row in table.iloc[1:].iterrows():
        assert abs(row["tokens out"] - int(budget)) < 1
    ours = table.loc[("192", "SparseVLM")]
    assert ours["ms, paper (A100)"] == 36.50
    assert ours["KV (MB)"] == claims_analytic.kv_megabytes_entering("sparsevlm", 192)


def test_columns_without_a_published_number_are_left_out():
    shown = study_analytic.readable(["sparsevlm-plus", "random"], [64])
    assert "–" in shown.loc[("64", "Random")].tolist()  # the dense row has what the paper prints
    assert shown.loc[("all", "Dense"), "TFLOPs, paper"] == "4.62"
    with pytest.raises(ValueError, match="follow the question, so no formula gives them"):
        study_analytic.frame(["sparsevlm-v1.0"], [64])


def test_the_analytic_sentences_state_what_was_computed():
    flops, cache_size = study_analytic.sentences()
    worst = float(flops.split("within ")[1].split(" T")[0])
    assert flops.startswith("All 13 FLOPs values") and worst <= 0.03
    assert "take 302.0 and 100.7 MB" in cache_size and "prints 302.4 and 100.8 MB" in cache_size


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
