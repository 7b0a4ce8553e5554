"""The reader's own score: answered by the one road, kept nowhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

import sparsevlm as sv
from sparsevlm.evaluation.paths import RESULTS
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.methods import METHODS, Method
from sparsevlm.paper.extras import your_method


def narrowed():
    profile = get_profile("mini").for_study("your_method").limited(4)
    return replace(profile, methods=("mine",), benchmarks=("pope",), budgets=(64,))


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setitem(METHODS, "mine", Method("mine", "", sv.ScorePruner))


def test_its_answers_are_made_and_not_stored():
    before = set(RESULTS.glob("*/*"))
    sv.own_method(lambda visual, attention, question: attention.mean(dim=(0, 1)), "mine")
    (record,) = your_method._own_records(narrowed())
    assert set(RESULTS.glob("*/*")) == before
    assert len(record.predictions) == 4 and abs(record.tokens_out - 64) <= 1
    assert all(row["prediction"] in ("yes", "no") for row in record.predictions)


def test_a_faulty_score_stops_with_its_reason():
    sv.own_method(lambda visual, attention, question: visual, "mine")
    with pytest.raises(ValueError, match="must return one finite number per visual token"):
        your_method._own_records(narrowed())
