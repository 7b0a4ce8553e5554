"""What the end of a run says about samples without an answer."""

from __future__ import annotations

import pickle
from dataclasses import replace

from test_store import RUN

from sparsevlm.evaluation.results.failures import Failure, OpenSamplesError, summarise

OTHER = replace(RUN, method="fastv", tokens=64)
BROKEN = Failure("gqa/3", "gqa/images/3.jpg", "it is truncated")


def test_a_picture_is_said_once_with_the_number_of_runs():
    large = Failure("gqa/5", "", "memory runs out")
    assert summarise([(RUN, (BROKEN,)), (OTHER, (BROKEN, large))]) == {
        "sample gqa/3 (gqa/images/3.jpg)": "it is truncated [2 runs, first gqa, dense]",
        "sample gqa/5": "memory runs out [gqa, fastv at 64 tokens]",
    }


def test_a_sample_with_two_reasons_has_both():
    other = replace(BROKEN, reason="it is missing")
    ((_, reason),) = summarise([(RUN, (BROKEN,)), (OTHER, (other,))]).items()
    assert reason == "it is truncated [gqa, dense]; it is missing [gqa, fastv at 64 tokens]"


def test_many_are_counted_and_the_place_of_all_is_named():
    many = tuple(replace(BROKEN, id=f"gqa/{n}") for n in range(50))
    found = summarise([(RUN, many)], shown=3)
    assert len(found) == 4
    assert found["47 samples more"].startswith("results/runs/*.open.json lists them")


def test_the_error_says_which_and_what_to_do_and_passes_between_processes():
    error = OpenSamplesError([(RUN, (BROKEN,))])
    assert str(error) == (
        "runs left unfinished: 1. sample gqa/3 (gqa/images/3.jpg): it is truncated [gqa, dense]. "
        "All other answers are kept; the same command asks the open samples again"
    )
    assert pickle.loads(pickle.dumps(error.runs)) == ((RUN, (BROKEN,)),)
