"""Judging many finished records: one price for all, one line for each."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import sys
from types import SimpleNamespace

import pytest
from judge_server import said, serving, set_key

from sparsevlm.benchmarks import Sample
from sparsevlm.evaluation.judges import (
    TASKS,
    EndpointJudge,
    JudgeError,
    MatchJudge,
    OpenJudge,
    command,
)
from sparsevlm.evaluation.judges.records import judge_records, transcripts_folder
from sparsevlm.evaluation.results.run import EvaluationRun
from sparsevlm.evaluation.results.store import Store


def finish(store, benchmark, predictions, tokens=None):
    """Keep a record of these answers and return its run."""
    run = EvaluationRun(
        model="m", revision="r", benchmark=benchmark, samples="s", num_samples=len(predictions),
        seed=0, method="dense" if tokens is None else "fastv", tokens=tokens, pruner="{}",
        dtype="float32", attention="sdpa", batch=1,
    )  # fmt: skip
    samples = [
        Sample(f"{benchmark}/{i}", "clip:0", "what runs?", "dog", answers=("dog",))
        for i in range(len(predictions))
    ]
    with store.writing(run, [sample.id for sample in samples]) as writer:
        pairs = zip(samples, predictions, strict=True)
        writer.append([{**sample.to_json(), "prediction": text} for sample, text in pairs])
        writer.finish({})
    return run


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def options(**settings):
    return SimpleNamespace(**{
        "judge": "match", "model": None, "revision": "", "address": "https://x/v1",
        "key_variable": "JUDGE_KEY", "price": None, "prompt": None, "device": "cpu",
        "reading": "official",
        "parallel": 1, "yes": True,
    } | settings)  # fmt: skip


def test_the_match_judges_finished_runs_that_need_a_judge(store):
    runs = [
        finish(store, "tgif", ["a dog", "a cat"]),
        finish(store, "mmvet", ["a dog"], 64),
        finish(store, "gqa", ["dog"]),
    ]
    runs.append(dataclasses.replace(runs[0], seed=1))  # not finished
    assert command.run(options(), runs, store) == [
        "tgif, dense: 50.0 % right, score 2.50, 2 verdicts, 0 broken; match 50.0 %",
        "mmvet, fastv at 64 tokens: score 100.00, 1 verdicts, 0 broken; match 100.0 %",
    ]
    assert len(list((store.folder / "runs").glob("*.verdicts-*.json"))) == 2
    assert all(store.load(run) for run in runs[:3])  # the records are as they were


@pytest.fixture
def server(monkeypatch):
    set_key(monkeypatch)
    with serving() as running:
        yield running


@pytest.fixture
def endpoint(server):
    def reply(body):
        right = "Answer to grade: a dog" in body["messages"][-1]["content"]
        return "json", 200, said(str({"pred": "yes" if right else "no", "score": 3})), {}

    server.otherwise = reply
    return options(judge="endpoint", model="judge", address=server.address, price=(1e4, 1e4))


def test_equal_answers_of_all_records_are_asked_once_at_one_price(store, endpoint, server, capsys):
    runs = [finish(store, "tgif", ["a dog", "a cat"]), finish(store, "tgif", ["a dog", "x"], 64)]
    lines = command.run(endpoint, runs, store)
    assert lines[0].startswith("tgif, dense: 50.0 % right, score 3.00, 2 verdicts, 0 broken")
    assert len(server.requests) == 3
    assert "4 answers to judge, 3 of them to be asked for up to " in capsys.readouterr().err
    assert command.run(endpoint, runs, store) == lines
    assert len(server.requests) == 3
    shutil.rmtree(transcripts_folder(store))  # the verdicts are enough
    assert command.run(endpoint, runs, store) == lines
    assert len(server.requests) == 3 and "to be asked" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("terminal", "typed", "price", "goes_on"),
    [
        (True, "y\n", (1.0, 1.0), True),
        (True, "\n", (1.0, 1.0), False),
        (False, "y\n", (1.0, 1.0), False),
        (False, "", None, False),
    ],
)
def test_without_yes_the_user_is_asked(
    store, endpoint, server, monkeypatch, terminal, typed, price, goes_on
):  # fmt: skip
    run = finish(store, "tgif", ["a dog"])
    endpoint.yes, endpoint.price = False, price
    typing = io.StringIO(typed)
    typing.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stdin", typing)
    if goes_on:
        assert len(command.run(endpoint, [run], store)) == 1
    else:
        with pytest.raises(JudgeError, match="not confirmed, nothing was asked"):
            command.run(endpoint, [run], store)
    assert len(server.requests) == int(goes_on)


def test_a_price_that_is_not_known_is_not_zero(store, endpoint, server):
    run = finish(store, "tgif", ["a dog"])
    endpoint.price, shown = None, []
    judged = judge_records(
        [store.load(run)], store,
        lambda task: command.make_judge(endpoint, task, None, store), confirm=shown.append,
    )  # fmt: skip
    with pytest.raises(JudgeError):
        list(judged)
    assert shown[0].price is None and server.requests == []


def test_options_name_the_judge(store, tmp_path):
    path = tmp_path / "p.json"
    wording = {"system": "", "user": "{question}{answer}{prediction}", "reminder": "r"}
    path.write_text(json.dumps(wording))
    task = TASKS["tgif"]
    assert command.make_judge(options(), task, None, store) == MatchJudge(task)
    judge = command.make_judge(options(judge="open"), task, None, store)
    assert isinstance(judge, OpenJudge) and judge.folder == transcripts_folder(store)
    prompt = command.Prompt.from_file(path)
    judge = command.make_judge(options(judge="endpoint", model="x"), task, prompt, store)
    assert isinstance(judge, EndpointJudge) and judge.prompt == prompt and judge.price_in is None
    strict = options(judge="open", reading="strict")
    readings = [command.make_judge(strict, TASKS[name], None, store).reading for name in TASKS]
    assert readings == ["strict"] * 4 + ["number"]
    with pytest.raises(ValueError, match="needs the name of its model"):
        command.make_judge(options(judge="endpoint"), task, None, store)
