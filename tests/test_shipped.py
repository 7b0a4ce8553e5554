"""The answers that come with the repository: read, taken for results, verified."""

from __future__ import annotations

import csv
import lzma
from dataclasses import replace
from functools import partial

import pytest
from test_long_runs import PROFILE
from untrained import quiet

from sparsevlm.cli.shipping import verify
from sparsevlm.evaluation import runs
from sparsevlm.evaluation.backends import MiniatureBackend
from sparsevlm.evaluation.paths import FIGURES
from sparsevlm.evaluation.plan import plan_runs
from sparsevlm.evaluation.results.shipped import SHIPPED, read_answers, take_shipped, write_answers
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.workers import execute_together
from sparsevlm.miniature.registry import MINIATURES


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with two runs of the bundled model, and the file that ships them."""
    store = Store(tmp_path_factory.mktemp("made"))
    backend = MiniatureBackend()
    planned = plan_runs(PROFILE, backend=backend, store=store)
    assert execute_together(planned, store, backend, quiet) == {}
    path = store.folder / "answers.jsonl.xz"
    write_answers(map(store.load, planned), path)
    return planned, store, path


def test_records_come_back_and_equal_ones_give_equal_bytes(made, tmp_path):
    planned, store, path = made
    read = {record.id: record for record in read_answers(path)}
    assert [read[run.id].run for run in planned] == planned
    for run in planned:
        record = replace(store.load(run), seconds=0.0)
        assert replace(read[run.id], predictions=record.predictions) == record
        assert read[run.id].predictions == tuple(record.predictions)
    write_answers(reversed(list(read.values())), tmp_path / "again.xz")
    assert (tmp_path / "again.xz").read_bytes() == path.read_bytes()


def test_they_are_taken_for_the_results_of_the_same_runs_and_of_no_others(made, tmp_path):
    planned, store, path = made
    new = Store(tmp_path)
    assert take_shipped([planned[0], replace(planned[1], algorithm="other code")], new, path) == 1
    assert new.path(planned[0].id).read_bytes() == store.path(planned[0].id).read_bytes()
    assert take_shipped(planned, new, path) == 1
    assert take_shipped(planned, new, path) == 0, "what is there stays"


def test_answers_of_a_slow_model_are_taken_before_anything_is_computed(made, tmp_path, monkeypatch):
    planned, _, path = made
    monkeypatch.setattr(runs, "take_shipped", partial(take_shipped, path=path))
    monkeypatch.setitem(MINIATURES, "mini-llava", replace(MINIATURES["mini-llava"], slow=True))
    new = Store(tmp_path)
    assert runs.execute_runs(planned, new, backend=None) == {}
    assert runs.missing_runs(planned, new) == []


def test_computed_again_they_are_the_same_in_every_byte(made, capsys):
    assert verify(3, 0, made[2])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "scored again: 16 answers of 2 runs, 0 runs differ"
    assert said[1].startswith("computed again: ") and said[1].endswith("of 0 differ in some byte")


def test_an_answer_that_was_edited_is_found(made, tmp_path, capsys):
    path = tmp_path / "edited.xz"
    text = lzma.decompress(made[2].read_bytes()).decode()
    assert '"prediction":"yes"' in text
    path.write_bytes(
        lzma.compress(text.replace('"prediction":"yes"', '"prediction":"no"').encode())
    )
    assert not verify(8, 0, path)
    said = capsys.readouterr().out.splitlines()
    assert sum("give other scores now" in line for line in said) == 2
    assert any("was 'no'" in line and "is 'yes'" in line for line in said)


def test_what_is_shipped_is_what_table_1_shows():
    with (FIGURES / "table_1.csv").open(encoding="utf-8") as file:
        shown = {(row["budget"], row["method"]): row for row in csv.DictReader(file)}
    scores = {
        (record.run.benchmark, record.run.method, record.run.tokens): record.scores["score"]
        for record in read_answers()
        if record.run.model == "mini-llava-32"
    }
    labels = {"Dense": "dense", "SparseVLM": "sparsevlm", "FastV": "fastv", "PDrop": "pdrop"}
    columns = {"GQA": "gqa", "POPE": "pope", "SEED": "seed", "TextVQA": "textvqa"}
    compared = [
        (float(row[column]), scores[benchmark, labels[method], tokens])
        for (budget, method), row in shown.items()
        if method in labels
        for column, benchmark in columns.items()
        for tokens in [None if budget == "all" else int(budget)]
    ]
    assert len(compared) == 40
    assert all(one == pytest.approx(other) for one, other in compared)


def test_some_of_what_is_shipped_is_computed_again():
    assert verify(2, 1, SHIPPED)
