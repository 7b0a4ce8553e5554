"""Which methods separate with 2,000 questions: what is written, read back, and drawn."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import study
from sparsevlm.evaluation.backends import versioned_samples
from sparsevlm.evaluation.plan import algorithms, plan_runs
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.failures import RunError
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.studies import get_study, studies_of
from sparsevlm.paper.extras import significance
from sparsevlm.paper.notebooks import known_notebooks

SKILL = {"dense": 0.72, "sparsevlm": 0.7, "fastv": 0.3, "random": 0.7, "tome": 0.5, "pdrop": 0.4}


def results_of(name: str) -> study.Results:
    profile = narrowed(name, benchmarks=("pope", "textvqa"))
    return study.from_records(profile, fabricate(profile, SKILL), SHAPE)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("separation") / "significance.json"
    for name in ("apart_gemini_moved", "apart_llava"):  # kept in the order of the studies
        significance.put(results_of(name), path)
    return path


@pytest.fixture(scope="module")
def found(path) -> dict:
    return significance.read(path)


def test_every_study_asks_about_2000_questions_at_one_budget_and_in_no_notebook():
    asked = {study for name in known_notebooks() for study in studies_of(name)}
    for name in significance.NAMES:
        profile = get_profile("mini").for_study(name)
        few = 1000 if profile.model == "mini-qwen2-vl" else 2000
        assert few <= profile.samples_per_benchmark * len(profile.benchmarks) <= few + 100
        assert len(profile.budgets) == 1 and name not in asked
        table = {"mini-llava": "table_1", "mini-gemini": "figure_4", "mini-qwen2-vl": "table_2"}
        of = get_study(table.get(profile.model, "table_3"))
        assert profile.budgets[0] == min(of.budgets) and profile.benchmarks == of.benchmarks


def test_the_code_of_a_study_is_known_without_drawing_its_questions(tmp_path):
    profile = replace(get_profile("mini").for_study("apart_video"), samples_per_benchmark=2)
    before = versioned_samples.cache_info().misses
    found = algorithms(profile)
    assert versioned_samples.cache_info().misses == before
    assert found == {run.algorithm for run in plan_runs(profile, store=Store(tmp_path))}


def test_what_is_written_is_read_back_and_says_what_it_is(found, monkeypatch):
    runs = [record.run for record in results_of("apart_llava").records.values()]
    monkeypatch.setattr(significance, "algorithms", lambda profile: {r.algorithm for r in runs})
    llava, moved = found["studies"].values()
    assert (llava["miniature"], llava["cuts"]) == ("mini-llava", "by depth")
    assert (moved["miniature"], moved["cuts"]) == ("mini-gemini", "moved")
    assert llava["questions"] == 48 and len(llava["cells"]) == 2 * 6
    llava = {**llava, "algorithm": "older"}
    studies = {"apart_llava": llava, "apart_gemini_moved": moved}
    table = significance.sources({"studies": studies})
    assert list(table["study"]) == ["apart_llava", "apart_gemini_moved"]
    assert list(table["code today"]) == ["has changed", "the same"]


def test_a_study_that_is_measured_again_leaves_the_others(found, path, tmp_path):
    copy = tmp_path / "significance.json"
    other = {**found["studies"]["apart_gemini_moved"], "questions": 7}
    studies = {**found["studies"], "apart_gemini_moved": other}
    copy.write_text(json.dumps({**found, "studies": studies}))
    significance.put(results_of("apart_llava"), copy)
    again = significance.read(copy)["studies"]
    assert again["apart_gemini_moved"]["questions"] == 7
    assert again["apart_llava"]["rows"] == found["studies"]["apart_llava"]["rows"]


def test_a_file_that_is_missing_or_old_says_how_to_make_it(tmp_path):
    path = tmp_path / "significance.json"
    with pytest.raises(FileNotFoundError, match=significance.COMMAND):
        significance.read(path)
    path.write_text('{"format": 0}')
    with pytest.raises(ValueError, match="has format 0, this code reads 1; make it again"):
        significance.read(path)


def test_the_table_has_the_lead_over_every_other_method(found):
    table = significance.frame(found)
    assert list(table.against) == ["fastv", "pdrop", "tome", "random", "random"]
    by_name = table[table.cuts == "by depth"].set_index("against")
    assert by_name.loc["fastv"].separates and by_name.loc["fastv"].low > 0
    assert not by_name.loc["random"].separates and by_name.loc["random"].points == 0
    expected = results_of("apart_llava").difference(("sparsevlm", 64), ("fastv", 64))
    assert by_name.loc["fastv"].points == pytest.approx(expected.value, abs=1e-3)


def test_the_dense_model_is_shown_by_kind_and_once_per_miniature(found):
    table = significance.dense_frame(found)
    assert set(table.miniature) == {"mini-llava"}
    assert table.questions.sum() == 48 and table.accuracy.between(0, 100).all()
    records = results_of("apart_llava").records
    rows = records[("dense", None, "textvqa")].predictions
    right = [row["prediction"] == row["answer"] for row in rows]
    (text,) = table[table.benchmark == "TextVQA"].accuracy
    assert text == pytest.approx(100 * sum(right) / len(right)) and text < 99


def test_the_figure_has_a_panel_per_miniature_and_rule(found):
    first, second = significance.draw(significance.frame(found)).axes
    assert first.get_title() == "mini-llava\n64 tokens\n48 questions"
    assert second.get_title().startswith("mini-gemini, moved stages\n")
    alone = significance.draw(significance.frame(found).query("cuts == 'by depth'"))
    assert len(alone.axes) == 1
    labels = [label.get_text() for label in first.get_yticklabels()]
    assert labels == ["FastV", "PDrop", "ToMe", "Random"]


def test_a_failed_run_leaves_the_file_as_it_was(monkeypatch, tmp_path):
    monkeypatch.setattr(significance, "FILE", tmp_path / "significance.json")

    def fail(*_, **__):
        raise RunError("it burns")

    monkeypatch.setattr(significance, "ensure_records", fail)
    assert significance.update() == {"apart_llava": "it burns"}
    assert not significance.FILE.exists()
