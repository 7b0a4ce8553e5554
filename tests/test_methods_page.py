"""Today's methods beside what others measured: every published value with its source."""

from __future__ import annotations

import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import study
from sparsevlm.methods import METHODS
from sparsevlm.paper.extras import methods

SKILL = {"dense": 0.95, "sparsevlm": 0.8, "tome": 0.7, "divprune": 0.75}


@pytest.fixture(scope="module")
def results():
    profile = narrowed("methods", methods=("sparsevlm", "tome", "divprune"), budgets=(192, 64))
    return study.from_records(profile, fabricate(profile, SKILL), SHAPE)


def test_the_file_names_known_methods_and_where_a_value_is_from():
    rows = methods.published()
    assert set(rows.method) <= set(METHODS) and set(rows.tokens) == {192, 128, 64}
    assert set(rows.origin) == set(methods.ORIGINS) and rows.source.str.len().min() > 0
    assert not rows.duplicated(["source", "tokens", "method"]).any()
    same = rows[rows.origin == methods.ONE_ENVIRONMENT]
    assert set(same.source) == {"RESTORE", "Cen-Prune"} and len(same) == 34


def test_the_rows_of_tome_come_first(results):
    first, second, spread = methods.sentences(results)
    assert first.startswith(
        "ToMe at 192 tokens: 88.9 % of dense in SparseVLM's paper, 96.9 where RESTORE ran it, "
    )
    assert second.startswith("ToMe at 64 tokens: 71.1 % of dense") and "91.6" in second
    assert spread.startswith("At 64 tokens the published values of ToMe lie furthest apart, 71.1")


def test_every_value_has_its_source_and_what_nobody_measured_a_dash(results):
    table = methods.beside(results)
    row = table.loc["64", "DivPrune"]
    assert row["one environment"] == "93.8 RESTORE; 94.8 Cen-Prune"
    assert row["published"] == "93.8 to 94.8" and row["here"].endswith("]")
    assert table.loc["64", "CDPruner"]["here"] == "–"
    assert table.loc["192", "CDPruner"]["published"] == "–"
    assert set(table.loc["64"].index) >= {"SparseVLM", "HoloV", "DART"}


def test_the_figure_marks_one_environment(results):
    fig = methods.figure(results)
    assert [axes.get_title() for axes in fig.axes] == ["192 tokens", "64 tokens"]
    shown = [text.get_text() for text in fig.axes[0].get_yticklabels()]
    assert shown[:3] == ["SparseVLM", "ToMe", "DivPrune"] and "VisPruner" in shown
    (legend,) = fig.legends
    assert any("one environment" in text.get_text() for text in legend.get_texts())
