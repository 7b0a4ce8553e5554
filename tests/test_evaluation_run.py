"""An id names everything that can change a result, and nothing else."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from PIL import Image

from sparsevlm.benchmarks import Sample
from sparsevlm.evaluation.results.run import (
    EvaluationRun,
    Record,
    canonical_json,
    digest,
    samples_digest,
)

RUN = EvaluationRun(
    model="m",
    revision="r",
    benchmark="pope",
    samples="v",
    num_samples=9,
    seed=0,
    method="sparsevlm",
    tokens=64,
    pruner='{"name":"sparsevlm","stages":[[0,66],[1,30]]}',
    dtype="float32",
    attention="sdpa",
    batch=16,
)
CHANGED = {
    "model": "n",
    "revision": "s",
    "benchmark": "gqa",
    "samples": "w",
    "num_samples": 10,
    "seed": 1,
    "method": "fastv",
    "tokens": 128,
    "pruner": '{"name":"sparsevlm","stages":[[0,66],[1,31]]}',
    "dtype": "bfloat16",
    "attention": "eager",
    "batch": 1,
    "max_new_tokens": 9,
    "algorithm": "changed code",
}


def test_the_id_of_a_run_stays_the_same_between_versions_of_this_code():
    """If this fails, every stored result loses its name: change it only on purpose."""
    assert RUN.id == "fee8a95621973c54"


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_field_changes_the_id(name):
    assert replace(RUN, **{name: CHANGED[name]}).id != RUN.id


def test_every_field_but_the_device_is_in_the_id():
    assert {f.name for f in fields(EvaluationRun)} - CHANGED.keys() == {"device"}
    assert replace(RUN, device="cuda").id == RUN.id
    assert replace(RUN, device="cuda") == RUN


def test_the_order_of_fields_and_blanks_do_not_change_the_id():
    shuffled = '{ "stages": [[0, 66], [1, 30]],\n "name": "sparsevlm"}'
    assert replace(RUN, pruner=shuffled) == RUN
    backwards = dict(reversed(list(RUN.to_json().items())))
    assert EvaluationRun.from_json(json.loads(json.dumps(backwards))).id == RUN.id


def test_a_run_of_another_version_is_refused_with_what_differs():
    values = RUN.to_json()
    values["colour"] = values.pop("seed")
    with pytest.raises(ValueError, match="it differs in: colour, seed"):
        EvaluationRun.from_json(values)
    with pytest.raises(ValueError, match="EvaluationRun.batch must be a positive integer, got 0"):
        replace(RUN, batch=0)


def test_the_title_says_what_is_measured():
    assert RUN.title == "pope, sparsevlm at 64 tokens"
    assert replace(RUN, method="dense", tokens=None).title == "pope, dense"


def test_canonical_json_has_no_nan_and_no_order():
    assert canonical_json({"b": 1, "a": [1.5, None]}) == '{"a":[1.5,null],"b":1}'
    with pytest.raises(ValueError):
        canonical_json(float("nan"))


def test_a_digest_keeps_its_parts_apart():
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab") == digest(b"ab")


def test_the_version_of_a_benchmark_sees_questions_answers_and_pixels():
    sample = Sample("1", "scene:0", "q", "a")
    grey = Image.new("RGB", (4, 4), (9, 9, 9))
    version = samples_digest([sample], [[grey]])
    assert version == samples_digest([Sample("1", "scene:0", "q", "a")], [[grey.copy()]])
    other = grey.copy()
    other.putpixel((3, 3), (9, 9, 8))
    assert samples_digest([sample], [[other]]) != version
    assert samples_digest([replace(sample, answer="b")], [[grey]]) != version
    assert samples_digest([sample], [[grey.resize((2, 8))]]) != version
    assert samples_digest([sample], [[grey, grey]]) != version


def test_tokens_of_a_record_are_means_over_layers_and_samples():
    rows = (
        {"tokens_in": [4, 2], "tokens_out": [2, 2]},
        {"tokens_in": [4, 4], "tokens_out": [4, 4]},
    )
    record = Record(RUN, rows, {}, (), 0.0)
    assert (record.tokens_in, record.tokens_out) == (3.5, 3.0)
