"""Judging many finished records: one price for all, one line for each."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import sys
from functools import partial
from types import SimpleNamespace

import pytest
from judge_server import GOOD, KEY, deepseek_r1, gpt_5, said

from sparsevlm.benchmarks import Sample
from sparsevlm.evaluation.judges import command
from sparsevlm.evaluation.judges.command import MatchJudge
from sparsevlm.evaluation.judges.endpoint import EndpointJudge
from sparsevlm.evaluation.judges.interface import JudgeError
from sparsevlm.evaluation.judges.open_model import OpenJudge
from sparsevlm.evaluation.judges.prompts import TASKS
from sparsevlm.evaluation.judges.records import FOLDER, judge_records
from sparsevlm.evaluation.profiles import get_profile
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
    if store.has(run):
        return run
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
        "judge": "match", "model": "", "revision": "", "address": "https://x/v1",
        "key_variable": "JUDGE_KEY", "price": None, "prompt": None, "device": "cpu",
        "reading": "official", "max_tokens": None, "limit_field": None, "fields": "{}",
        "parallel": 1, "yes": True,
    } | settings)  # fmt: skip


def test_the_match_judges_finished_runs_that_need_a_judge(store):
    runs = [
        finish(store, "tgif", ["a dog", "a cat"]),
        finish(store, "mmvet", ["a dog"], 64),
        finish(store, "gqa", ["dog"]),
    ]
    runs.append(dataclasses.replace(runs[0], seed=1))  # not finished
    assert list(command.run(options(), runs, store)) == [
        "tgif, dense: 50.0 % right, score 2.50, 2 verdicts, 0 broken; match 50.0 %",
        "mmvet, fastv at 64 tokens: score 100.00, 1 verdicts, 0 broken; match 100.0 %",
    ]
    assert len(list((store.folder / "runs").glob("*.verdicts-*.json"))) == 2
    assert all(store.load(run) for run in runs[:3])  # the records are as they were


@pytest.fixture
def endpoint(server):
    def reply(body):
        right = "Answer to grade: a dog" in body["messages"][-1]["content"]
        return "json", 200, said(str({"pred": "yes" if right else "no", "score": 3})), {}

    server.otherwise = reply
    return options(judge="endpoint", model="judge", address=server.address, price=(1e4, 1e4))


def test_equal_answers_of_all_records_are_asked_once_at_one_price(store, endpoint, server, capsys):
    runs = [finish(store, "tgif", ["a dog", "a cat"]), finish(store, "tgif", ["a dog", "x"], 64)]
    lines = list(command.run(endpoint, runs, store))
    assert lines[0].startswith("tgif, dense: 50.0 % right, score 3.00, 2 verdicts, 0 broken")
    assert len(server.requests) == 3
    assert "4 answers to judge, 3 of them to be asked for up to " in capsys.readouterr().err
    assert list(command.run(endpoint, runs, store)) == lines
    assert len(server.requests) == 3
    shutil.rmtree(store.folder / FOLDER)  # the verdicts are enough
    assert list(command.run(endpoint, runs, store)) == lines
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
        assert len(list(command.run(endpoint, [run], store))) == 1
    else:
        with pytest.raises(JudgeError, match="not confirmed, nothing was asked"):
            list(command.run(endpoint, [run], store))
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
    assert isinstance(judge, OpenJudge) and judge.folder == store.folder / FOLDER
    prompt = command.Prompt.from_file(path)
    judge = command.make_judge(options(judge="endpoint", model="x"), task, prompt, store)
    assert isinstance(judge, EndpointJudge) and judge.prompt == prompt and judge.price_in is None
    strict = options(judge="open", reading="strict")
    readings = [command.make_judge(strict, TASKS[name], None, store).reading for name in TASKS]
    assert readings == ["strict"] * 4 + ["number"]
    with pytest.raises(ValueError, match="--fields must be a JSON object, got '.1.'"):
        command.make_judge(options(judge="endpoint", fields="[1]"), task, None, store)


def test_without_a_name_the_judge_is_the_providers_substitute_and_is_said(store, server, capsys):
    run = finish(store, "tgif", ["a dog"])
    list(command.run(options(judge="endpoint", address=server.address), [run], store))
    assert server.requests[0][3]["model"] == "gpt-4.1-mini"
    host = server.address.split("/")[2]
    said = capsys.readouterr().err
    assert f"the judge is gpt-4.1-mini at {host} (official reading, judge " in said


def test_what_has_answers_to_judge_is_named_by_notebook_or_study():
    assert command.runs_of(get_profile("mini"), ["table_2", "figure_9"]) == []
    with pytest.raises(ValueError, match="'figure_6' reads no study; known: table_1, "):
        command.runs_of(get_profile("mini"), ["table_3", "figure_6"])


def judged_by(server, store, model, **settings):
    """Have one run judged by a model behind the server, as the command line does."""
    run = finish(store, "tgif", ["a dog", "a cat", "dogs"])
    chosen = options(judge="endpoint", model=model, address=server.address, **settings)
    return run, list(command.run(chosen, [run], store))


@pytest.mark.parametrize(
    ("behaves", "model", "limit"),
    [
        (gpt_5, "gpt-5-mini", {"max_completion_tokens": 4096}),
        (gpt_5, "openai/o4-mini-2025-04-16", {"max_completion_tokens": 4096}),
        (deepseek_r1, "DeepSeek-R1-Distill-Qwen-7B", {"max_tokens": 4096, "temperature": 0.0}),
        (deepseek_r1, "qwen3:8b", {"max_tokens": 4096, "temperature": 0.0}),
        (None, "gpt-4.1-mini", {"max_tokens": 64, "temperature": 0.0}),
        (None, "Qwen3-4B-Instruct-2507", {"max_tokens": 64, "temperature": 0.0}),
    ],
)
def test_a_model_is_asked_as_its_family_wants_it(server, store, behaves, model, limit):
    server.otherwise = behaves or server.otherwise
    _, (line,) = judged_by(server, store, model)
    assert "100.0 % right, score 4.00, 3 verdicts, 0 broken" in line
    body = server.requests[0][3]
    assert {key: body[key] for key in body.keys() - {"model", "messages"}} == limit


def test_options_do_for_a_model_of_another_name_what_its_family_needs(server, store):
    server.otherwise = gpt_5
    with pytest.raises(JudgeError, match="'max_tokens' .*Use 'max_completion_tokens' instead.*give "
                       "--limit-field max_completion_tokens"):  # fmt: skip
        judged_by(server, store, "mine")
    with pytest.raises(JudgeError, match="Only the default .1. value is supported.*--fields '."
                       '"temperature": null.'):  # fmt: skip
        judged_by(server, store, "mine", limit_field="max_completion_tokens")
    assert len(server.requests) == 2  # each of them ended at once
    chosen = {"limit_field": "max_completion_tokens", "fields": '{"temperature": null, "seed": 7}'}
    run = finish(store, "tgif", ["a dog", "a cat", "dogs"])
    assert not list(store.path(run.id).parent.glob("*.verdicts-*"))
    unreadable = "no score, for 3 of the judge's 3 verdicts.* cut off at 64 tokens; --max-tokens"
    with pytest.raises(JudgeError, match=unreadable):
        judged_by(server, store, "mine", **chosen)
    _, (line,) = judged_by(server, store, "mine", **chosen, max_tokens=500)
    assert "3 verdicts, 0 broken" in line and server.requests[-1][3]["seed"] == 7


@pytest.mark.parametrize("benchmark", ["tgif", "mmvet"])
def test_thoughts_that_were_cut_off_are_no_verdict(server, store, benchmark):
    server.otherwise = deepseek_r1
    run = finish(store, benchmark, ["a dog"] * 50)
    chosen = options(judge="endpoint", model="mine", address=server.address, max_tokens=40)
    with pytest.raises(JudgeError, match="no score, for 20 of the judge's 20 verdicts"):
        list(command.run(chosen, [run], store))
    assert len(server.requests) == 3  # equal answers are asked once, and the rest not at all
    assert not list(store.path(run.id).parent.glob("*.verdicts-*"))


def test_more_than_half_unreadable_is_no_score_and_fewer_are_counted(server, store):
    def reply(body):
        asked = body["messages"][-1]["content"]
        return "json", 200, said("0.8" if "| good" in asked else "I cannot say"), {}

    server.otherwise = reply
    make = partial(options, judge="endpoint", model="m", address=server.address)
    runs = [finish(store, "mmvet", ["good", "good 1", *bad], len(bad)) for bad in (["a"], ["abc"])]
    runs.append(finish(store, "mmvet", ["good", "x", "y"], 9))
    lines = []
    with pytest.raises(JudgeError, match="for 2 of the judge's 3 verdicts.*holds no number"):
        lines += [line for line in command.run(make(), runs, store)]
    (line, _) = list(command.run(make(), runs[:2], store))
    assert "score 53.33, 2 verdicts, 1 broken" in line  # 0.8, 0.8 and 0, as in MM-Vet's script


def test_a_wrong_key_ends_at_once_and_the_same_command_goes_on(server, store, monkeypatch):
    runs = [finish(store, "tgif", ["a dog", "a cat"]), finish(store, "tgif", ["x", "y", "z"], 64)]
    chosen = options(judge="endpoint", model="m", address=server.address)

    def change_the_key(body):
        server.key = "sk-another"
        return "json", 200, said(GOOD), {}

    server.script = [("json", 200, said(GOOD), {})] * 2 + [change_the_key]
    lines = []
    reason = "refuses the key in JUDGE_KEY .HTTP 401: Incorrect API key.*put the right one there"
    with pytest.raises(JudgeError, match=reason) as caught:
        for line in command.run(chosen, runs, store):
            lines.append(line)
    assert len(lines) == 1 and len(server.requests) == 4 and KEY not in str(caught.value)
    monkeypatch.setenv("JUDGE_KEY", "sk-another")
    assert len(list(command.run(chosen, runs, store))) == 2
    assert len(server.requests) == 4 + 2  # what was answered before is not asked again


def test_a_server_on_this_machine_needs_no_key(server, store, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    _, (line,) = judged_by(server, store, "m", key_variable=None)
    assert "3 verdicts, 0 broken" in line and "Authorization" not in server.requests[0][2]
    server.key = KEY
    with pytest.raises(JudgeError, match="wants a key .HTTP 401.*--key-variable"):
        judged_by(server, store, "other", key_variable=None)
    judged_by(server, store, "other", key_variable="JUDGE_KEY")
    far = options(judge="endpoint", model="m", address="https://far.example/v1", key_variable=None)
    run = finish(store, "tgif", ["another"], 5)
    with pytest.raises(
        JudgeError, match="at https://far.example/v1 needs a key: set .*OPENAI_API_KEY"
    ):
        list(command.run(far, [run], store))
