"""A study of the user's own: compared with its first method, in a table, in words and drawn."""

from __future__ import annotations

import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import study
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.paper.extras import any_study

SKILL = {"dense": 0.95, "random": 0.4, "sparsevlm": 0.8, "uniform": 0.6, "pooled": 0.4}
SKILL |= {"sparsevlm-all-text": 0.8}


@pytest.fixture(scope="module")
def results():
    profile = narrowed("controls")
    return study.from_records(profile, fabricate(profile, SKILL), SHAPE)


def test_every_other_method_is_compared_with_the_first_at_every_budget(results):
    measured, compared = any_study.page(results)
    table = compared.table
    assert table.shape == (4, 3) and "Random" in table.index.get_level_values("minus")
    assert table.loc[("SparseVLM", "Random"), "64"].startswith("ahead +")
    assert "miniature model, not LLaVA-1.5" in measured.heading


def test_the_figure_has_a_line_per_method_and_says_what_the_axis_is(results):
    (axes,) = any_study.figure(results).axes
    assert len(axes.get_legend_handles_labels()[1]) >= 5
    assert axes.get_xlabel().startswith("visual tokens left")


def test_an_unknown_study_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown study 'mine'; known: table_1, "):
        any_study.measure(get_profile("mini"), "mine")
