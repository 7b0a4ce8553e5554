"""The controls: what is said of text guidance follows from paired comparisons."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import study
from sparsevlm.analysis.style import TABLE_FORMATS
from sparsevlm.paper.extras import controls

# The grid is better than SparseVLM, the others that look at nothing are worse.
SKILL = {"dense": 0.97, "sparsevlm": 0.7, "sparsevlm-all-text": 0.8}
SKILL |= {"random": 0.4, "uniform": 0.9, "pooled": 0.3}


@pytest.fixture(scope="module")
def results():
    profile = narrowed("controls", benchmarks=("pope", "textvqa", "mmvet"))
    return study.from_records(profile, fabricate(profile, SKILL), SHAPE)


def test_leads_are_paired_and_of_every_control_at_every_budget(results):
    found = controls.leads(results, "sparsevlm")
    assert len(found) == 3 * 3
    assert found[64, "random"].low > 0 > found[64, "uniform"].high
    assert found[64, "random"] == results.get("ahead", ("random", 64))


def test_the_summary_counts_both_directions(results):
    lines = controls.summary(results)
    assert lines[0] == (
        "Of 9 comparisons of SparseVLM with a blind control, SparseVLM is ahead by more than "
        "chance in 6 and behind in 3; 0 cannot tell."
    )
    assert lines[1].startswith("Of 9 comparisons of SparseVLM, all text with a blind control")
    at_64 = controls.by_answer(results, controls.BLIND + (controls.ALL_TEXT,)).loc["64"]
    assert at_64.loc["Uniform grid"].iloc[0].startswith("-")
    assert at_64.loc["SparseVLM, all text"].iloc[0].startswith("-")


def test_equal_budgets_are_not_called_equal_costs(results):
    text = controls.summary(results)[-1]
    assert "at 64 tokens" in text and "SparseVLM 192, Random 192" in text


def test_every_control_is_told_answer_by_answer(results):
    table = controls.page(results)[-1].table
    assert len(table) == 3 * 4
    _, only_ours, only_pooled, p_value = table.loc[("64", "Pooled grid")]
    assert only_ours > only_pooled == 0 and float(p_value) < 1


def test_the_differences_are_shown_benchmark_by_benchmark(results):
    table = controls.by_benchmark(results)
    assert list(table.columns) == ["POPE", "TextVQA", "MMVet"] and len(table) == 3 * 4
    apart = results.score_difference("pope", ("sparsevlm", 64), ("uniform", 64))
    shown = table.loc[("64", "Uniform grid"), "POPE"]
    assert shown == f"{apart.value:+.1f} [{apart.low:+.1f}, {apart.high:+.1f}]"
    assert shown.startswith("-")


def test_the_files_begin_with_the_summary(results, tmp_path):
    files = controls.REPORT.write(results, tmp_path)
    assert [path.name for path in files] == [f"controls.{kind}" for kind in TABLE_FORMATS]
    page = files[0].read_text(encoding="utf-8").splitlines()
    assert page[0] == "## What text guidance buys" and page[2].startswith("- Of 9 comparisons")
    assert any("miniature model, not LLaVA-1.5" in line for line in page if line.startswith("##"))
    assert len(pd.read_csv(files[1])) == 1 + 5 * 3


def test_the_figure_shows_accuracy_and_differences(results):
    here, apart = controls.figure(results).axes
    labels = [c.get_label() for c in apart.containers]
    assert labels == ["SparseVLM, all text", "Random", "Uniform grid", "Pooled grid"]
    grid = next(c for c in apart.containers if c.get_label() == "Uniform grid").lines[0]
    expected = [results.value("ahead", ("uniform", b)) for b in (64, 128, 192)]
    np.testing.assert_allclose(grid.get_ydata().astype(float), expected)
    assert len(here.containers) == 5 and apart.get_title() == "below zero: the control is better"
