"""The preprint's Table 1: tokens really left, its own published rows, its orderings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import published, study, tables
from sparsevlm.paper.tables import table_1, table_1_v1

OURS = table_1_v1.OURS
SKILL = {"dense": 0.95, OURS: 0.8, "fastv": 0.45, "tome": 0.9}
LEFT = {(OURS, 192): 240, (OURS, 128): 101, (OURS, 64): 31}


@pytest.fixture(scope="module")
def results():
    profile = narrowed("table_1_v1")
    return study.from_records(
        profile, fabricate(profile, SKILL, LEFT), SHAPE, OURS, table_1_v1.PAPER
    )


def test_the_lead_is_that_of_v1(results):
    assert results.get("ahead", ("fastv", 64)).low > 0 > results.get("ahead", ("tome", 64)).high
    assert results.find("ahead", (OURS, 64)) is None


def test_the_published_rows_are_the_preprints(results):
    paper = tables.published(results, table_1_v1.WITHOUT_COUNTERPART)
    assert list(paper.columns) == [
        "GQA", "MMB", "MME", "POPE", "SQA", "TextVQA", "VQAv2", "ConBench", "Acc. (%)",
    ]  # fmt: skip
    ours = paper.loc[("64", "SparseVLM (v1.0)")]
    assert ours["POPE"] == 75.1 == published.value("table1", "SparseVLM", 64, "POPE", version="v1")
    assert ours["POPE"] != table_1.PAPER["sparsevlm", 64]["POPE"], "not the ICML paper's"
    assert ours["Acc. (%)"] == 86.9 and paper.loc[("all", "Dense"), "ConBench"] == 19.8
    assert not paper.isna().any(axis=None)


def test_the_tokens_really_left_are_said(results):
    measured, *_, ranked = table_1_v1.page(results)
    left = measured.table["tokens out"]
    assert (
        left[("192", "SparseVLM (v1.0)")] == "240.0" and left[("64", "SparseVLM (v1.0)")] == "31.0"
    )
    assert left[("192", "FastV")] == left[("192", "ToMe")] == "192.0"
    assert "not of equal numbers of tokens" in ranked.sentences[0]


def test_the_preprints_orderings_are_judged(results):
    ranked = table_1_v1.page(results)[-1]
    said = "Of the paper's 9 pairwise orderings the measurement reproduces "
    assert ranked.text.startswith(said) and len(ranked.sentences) == 1
    assert ranked.table.loc[("SparseVLM (v1.0)", "FastV"), "64"].startswith("agrees +")


def test_the_files_are_of_this_table(results, tmp_path):
    files = table_1_v1.REPORT.write(results, tmp_path)
    assert [path.name for path in files] == [
        "table_1_v1.md", "table_1_v1.csv", "table_1_v1.html", "table_1_v1.tex",
    ]  # fmt: skip
    back = pd.read_csv(files[1])
    assert len(back) == 1 + 3 * 3 and "SparseVLM (v1.0) ahead by" in back
    left = back[back["method"] == "SparseVLM (v1.0)"]["tokens out"].tolist()
    assert left == [240, 101, 31]
    assert "arXiv 2410.04417v1" in files[0].read_text(encoding="utf-8")


def test_the_figure_draws_against_what_is_left(results):
    here, paper = table_1_v1.figure(results).axes
    assert here.get_title() == "measured: mini-llava\nminiature model, not LLaVA-1.5"
    at = next(c for c in here.containers if c.get_label() == "SparseVLM (v1.0)").lines[0]
    np.testing.assert_allclose(at.get_xdata().astype(float), [31, 101, 240], rtol=0.02)
    drawn = {line.get_label(): line for line in paper.lines}
    np.testing.assert_allclose(drawn["SparseVLM (v1.0)"].get_ydata(), [86.9, 93.3, 95.8])
    np.testing.assert_allclose(drawn["SparseVLM (v1.0)"].get_xdata(), [64, 128, 192])
