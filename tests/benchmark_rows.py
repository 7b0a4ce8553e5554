"""Rows of a record, as the scorers get them."""

from __future__ import annotations

from sparsevlm.benchmarks import Sample, get_benchmark


def row(prediction, answer, id="1", **fields):
    sample = Sample(id=id, media="scene:0", question="q", answer=answer, **fields)
    return {**sample.to_json(), "prediction": prediction}


def score(name, rows):
    return get_benchmark(name).score(rows)
