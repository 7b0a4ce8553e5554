"""The variants: both counts of tokens, paired against v1.5, analytic counts where there are any."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import study
from sparsevlm.paper.extras import variants

SKILL = {"dense": 0.95, "sparsevlm": 0.7, "sparsevlm-paper": 0.7}
SKILL |= {"sparsevlm-v1.0": 0.4, "sparsevlm-plus": 0.9}
LEFT = {("sparsevlm-v1.0", 192): 240, ("sparsevlm-v1.0", 128): 101, ("sparsevlm-v1.0", 64): 31}


@pytest.fixture(scope="module")
def results():
    profile = narrowed("variants")
    return study.from_records(profile, fabricate(profile, SKILL, LEFT), SHAPE)


def test_every_variant_is_compared_with_v15(results):
    section = variants.compared(results)
    assert section.table.shape == (3, 3)
    assert section.table.loc[("SparseVLM (v1.0)", "SparseVLM (v1.5)"), "64"].startswith("behind -")
    assert section.table.loc["SparseVLM (paper)", "64"].item().startswith("cannot tell +0.0")
    # The rank rule of the paper is scaled to the budget.
    assert "of SparseVLM (v1.0) follow the question" in section.text
    counts = [results.value(kind, ("sparsevlm-v1.0", 64)) for kind in ("tokens out", "tokens in")]
    assert counts == [31.0, 167.25]


def test_the_analytic_counts_are_of_fixed_schedules_only(results):
    table = variants.analytic(results).table
    assert {method for _, method in table.index} == {"Dense", "SparseVLM", "SparseVLM+"}
    assert table.loc[("192", "SparseVLM")].tolist()[:4] == ["2.13", "2.14", "192.0", "206.5"]
    assert table.loc[("192", "SparseVLM+"), "TFLOPs, paper"] == "–"


def test_the_files_show_both_counts(results, tmp_path):
    files = variants.REPORT.write(results, tmp_path)
    kinds = ("md", "csv", "html", "tex")
    assert [path.name for path in files] == [f"variants.{kind}" for kind in kinds]
    back = pd.read_csv(files[1])
    v10 = back[back["method"] == "SparseVLM (v1.0)"]
    assert v10["tokens out"].tolist() == [240, 101, 31]
    np.testing.assert_allclose(v10["tokens in"], [(576 + 3 * left) / 4 for left in (240, 101, 31)])
    page = files[0].read_text(encoding="utf-8")
    assert "not LLaVA-1.5" in page.splitlines()[0] and variants.ANALYTIC_TITLE in page


def test_the_figure_has_a_panel_for_each_count(results):
    left, computed = variants.figure(results).axes
    for axes, field in ((left, "tokens out"), (computed, "tokens in")):
        drawn = next(c for c in axes.containers if c.get_label() == "SparseVLM (v1.0)").lines[0]
        settings = [("sparsevlm-v1.0", b) for b in (64, 128, 192)]
        expected = [results.value(field, setting) for setting in settings]
        np.testing.assert_allclose(drawn.get_xdata().astype(float), expected, rtol=0.02)
        np.testing.assert_allclose(
            drawn.get_ydata().astype(float),
            [results.value("relative accuracy", setting) for setting in settings],
        )
    assert "left by a layer" in left.get_xlabel() and "entering" in computed.get_xlabel()
    assert len(computed.get_xticks()) >= 4


def test_kept_positions_are_compared_with_renumbered_ones(monkeypatch):
    profile = narrowed("positions")
    skill = {"dense": 0.95, "sparsevlm": 0.9, "sparsevlm-kept-positions": 0.4}
    found = study.from_records(profile, fabricate(profile, skill), SHAPE)
    monkeypatch.setattr(study, "measure", lambda *_: found)
    table = variants.positions(profile).table
    assert table.shape == (1, 3) and all(cell.startswith("behind -") for cell in table.iloc[0])
