"""What the tests of every miniature's training do: a repeated batch, and whole runs."""

from __future__ import annotations

import json

import pytest
import torch

from training import train


def values_on_a_repeated_batch(loss, model, stage, seeds, options, steps):
    """The values of a loss in some steps on the same scenes, and the last measures."""
    optimizers = train.build_optimizers(train.trainable(model, stage), stage)
    values = []
    for _ in range(steps):
        value, measures = loss(model, seeds, stage.grid, options)
        value.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        values.append(value.item())
    assert all(0 <= right <= total for right, total in measures.values())
    return values, measures


def run_in(folder, name, monkeypatch=None, losses=None, limit=0):
    """Run a recipe to its end; returns the last weights and the rows of its curves.

    With ``limit`` it is broken off after so many calls of its language loss, as if the process had
    been killed there, and resumed.
    """
    folder.mkdir()
    if limit:
        with monkeypatch.context() as patch:
            patch.setitem(losses, "language", _breaking(losses["language"], limit))
            with pytest.raises(KeyboardInterrupt):
                train.worker(0, 1, name, folder, 0, "cpu", None)
    train.worker(0, 1, name, folder, 0, "cpu", None)
    weights = torch.load(folder / "checkpoint.pt", weights_only=True)["model"]
    return weights, [json.loads(r) for r in (folder / "curves.jsonl").read_text().splitlines()]


def assert_same_weights(one, other):
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def _breaking(loss, limit):
    calls = iter(range(limit))

    def breaking(*arguments):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return loss(*arguments)

    return breaking
