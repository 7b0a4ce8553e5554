"""Table 2 from records: the numbers, the paper's rows, what is written and drawn."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from sparsevlm.analysis import published
from sparsevlm.benchmarks import get_benchmark
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.run import EvaluationRun, Record
from sparsevlm.miniature.qwen2_vl.questions import benchmark_samples
from sparsevlm.models.sizes import ModelSizes
from sparsevlm.paper.tables import table_2, table_2_views
from sparsevlm.paper.tables.table_1 import settings_of

PROFILE = replace(get_profile("mini").for_study("table_2"), samples_per_benchmark=40)
SHAPE = ModelSizes(layers=8, hidden=128, intermediate=352, heads=4)
SKILL = {"dense": 0.95, "sparsevlm": 0.85, "fastv": 0.55, "random": 0.35}

samples_of = cache(benchmark_samples)  # drawing the pictures takes a while


def _record(benchmark, method, tokens):
    """A record in which a method knows an answer if the question is easier than its skill."""
    rows = []
    for number, sample in enumerate(samples_of(benchmark, 40, 0)):
        ease = np.random.default_rng([len(benchmark), *sample.group.encode()]).random()
        wrong = {"yes": "no", "no": "yes"}.get(sample.answer, "wrong")
        visual = 1300 + number % 3
        skill = SKILL[method] - (0 if tokens is None else (600 - tokens) / 1000)
        rows.append(
            {
                **sample.to_json(),
                "prediction": sample.answer if ease < skill else wrong,
                "tokens_in": [visual] + [tokens or visual] * 7,
                "tokens_out": [tokens or visual] * 8,
                "text_tokens": 14,
            }
        )
    run = EvaluationRun(
        model="mini-qwen2-vl", revision="r", benchmark=benchmark, samples="v",
        num_samples=len(rows), seed=0, method=method, tokens=tokens,
        pruner=f'{{"name":"{method}"}}', dtype="float32", attention="sdpa", batch=16,
    )  # fmt: skip
    return Record(
        run, tuple(rows), get_benchmark(benchmark).score(rows), ({"commit": "c0ffee"},), 1.0
    )


@pytest.fixture(scope="module")
def results():
    records = [_record(b, *setting) for setting in settings_of(PROFILE) for b in PROFILE.benchmarks]
    return table_2.from_records(PROFILE, records, SHAPE)


def test_the_study_is_that_of_the_paper():
    assert PROFILE.benchmarks == ("mmbench", "pope", "textvqa")
    assert set(PROFILE.budgets) == {b for b in table_2.published_rows() if b}
    assert PROFILE.model == "mini-qwen2-vl" and "not Qwen2-VL" in PROFILE.marker


def test_the_average_is_of_the_three_scores(results):
    row = next(r for r in results.rows if (r.method, r.tokens) == ("sparsevlm", 500))
    assert table_2.average(row) == pytest.approx(sum(row.scores.values()) / 3)
    assert table_2_views.frame(results).loc[("500", "SparseVLM"), "Avg"] == table_2.average(row)


def test_visual_tokens_are_those_of_the_dense_model(results):
    mean, low, high = table_2.mean_visual(results)["pope"]
    assert (low, high) == (1300, 1302) and low < mean < high
    assert "POPE 1301 (1300 to 1302)" in table_2_views.tokens_line(results)
    assert "MMB 1323, POPE 1311, TextVQA 1326" in table_2_views.tokens_line(results)


def test_the_papers_rows_are_those_of_the_file():
    paper = table_2.published_rows()
    assert paper[600]["POPE"] == published.value("table2", "SparseVLM", 600, "POPE") == 86.5
    assert paper[None]["average"] == 83.7
    expected = np.mean([100 * 79.6 / 80.5, 100 * 86.5 / 86.4, 100 * 80.3 / 84.3])
    assert table_2.published_retained(600) == pytest.approx(expected)
    shown = table_2_views.published_frame()
    assert list(shown.index) == [
        ("all", "Dense"),
        *((str(b), "SparseVLM") for b in (600, 500, 400)),
    ]
    assert shown.loc[("400", "SparseVLM"), "Avg"] == 80.7
    assert not [c for c in shown if c.endswith("tokens")]


def test_the_claim_and_the_controls_in_words(results):
    lines = table_2_views.sentences(results)
    assert len(lines) == 3 + 2 + 6
    assert lines[0].startswith("SparseVLM at 600 tokens minus dense: -")
    assert lines[0].endswith(f"in the paper {table_2.published_retained(600) - 100:+.1f}.")
    assert lines[3].startswith("SparseVLM at 600 minus at 500 tokens: +")
    random = next(line for line in lines if line.startswith("At 400 tokens SparseVLM minus Random"))
    assert ": +" in random and "may be chance" not in random


def test_a_budget_that_the_paper_lacks_is_said_to_be_lacking(results):
    fewer = replace(results, profile=replace(results.profile, budgets=(600,)))
    assert "in the paper" in table_2_views.sentences(fewer)[0]
    other = {("sparsevlm", 300): results.relative["sparsevlm", 400]}
    odd = replace(
        results,
        profile=replace(results.profile, budgets=(300,), methods=("sparsevlm",)),
        relative=results.relative | other,
    )
    assert table_2_views.sentences(odd)[0].endswith("the paper has no such row.")


def test_the_files_are_written_whole_and_name_the_miniature(results, tmp_path):
    files = {p.name: p for p in table_2_views.save(results, tmp_path)}
    assert set(files) == {"table_2.md", "table_2.csv", "table_2.html"}
    back = pd.read_csv(files["table_2.csv"])
    assert len(back) == 1 + 3 * 3 and back["model"].str.contains("not Qwen2-VL").all()
    page = files["table_2.md"].read_text()
    assert page.startswith("## mini-qwen2-vl (miniature model, not Qwen2-VL), ")
    assert f"## {table_2_views.PAPER_TITLE}" in page and "nan" not in page
    assert sum(line.startswith("| 400 | SparseVLM |") for line in page.splitlines()) == 2
    assert files["table_2.html"].read_text().count("<table") == 2
    before = [p.read_bytes() for p in files.values()]
    table_2_views.save(results, tmp_path)
    assert [p.read_bytes() for p in files.values()] == before


def test_the_figure_says_which_panel_is_measured_and_which_published(results):
    here, paper = table_2_views.figure(results).axes
    assert here.get_title() == "measured: mini-qwen2-vl\nminiature model, not Qwen2-VL"
    assert paper.get_title() == "published: Qwen2-VL-7B\nTable 2 of the paper"
    expected = [table_2.published_retained(b) for b in (400, 500, 600)]
    np.testing.assert_allclose(paper.lines[0].get_ydata(), expected)
    labels = {container.get_label() for container in here.containers}
    assert labels == {"SparseVLM", "FastV", "Random"}
