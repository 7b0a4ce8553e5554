"""The judge behind an address, against a real server that is busy, slow, broken or gone."""

from __future__ import annotations

import dataclasses
import email.utils
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from judge_server import GOOD, KEY, QUICK, endpoint_judge, rows, said, serving, set_key

from sparsevlm.evaluation.judges.client import RetryPolicy
from sparsevlm.evaluation.judges.interface import JudgeError, Verdict
from sparsevlm.evaluation.judges.prompts import TASKS

ROOT = Path(__file__).parents[1]


@pytest.fixture
def make(server, tmp_path):
    return partial(endpoint_judge, server, tmp_path / "cache")


YES = Verdict(pred="yes", score=4)


def test_what_is_sent_and_what_is_kept(server, make, tmp_path):
    judge = make(options={"temperature": 0.0, "seed": 0})
    assert judge.verdicts(rows(1)) == [YES]
    ((method, path, headers, body),) = server.requests
    assert (method, path) == ("POST", "/v1/chat/completions")
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body == {
        "model": "judge", "temperature": 0.0, "max_tokens": 64, "seed": 0,
        "messages": TASKS["tgif"].prompt.messages(rows(1)[0]),
    }  # fmt: skip
    (file,) = (tmp_path / "cache").glob("*.jsonl")
    entry = json.loads(file.read_text().splitlines()[1])
    assert entry["reply"] == GOOD and entry["messages"] == body["messages"]
    assert entry["details"] == {
        "served_by": "judge-2026", "end": "stop",
        "usage": {"prompt_tokens": 9, "completion_tokens": 5},
    }  # fmt: skip


def test_settings_that_can_change_a_reply_identify_the_judge(make):
    judges = [
        make(),
        make(model="other"),
        make(options={}),
        make(max_tokens=65),
        make(limit_field="max_completion_tokens"),
        make(options={"seed": 1}),
        make(address="http://localhost:1/v1"),
        make(task=TASKS["mmvet"]),
        make(tries=2),
        make(reading="strict"),
    ]
    assert len({json.dumps(judge.identity()) for judge in judges}) == len(judges)
    same = [make(parallel=9), make(price_in=1.0), make(retry=RetryPolicy()), make(key_variable="K")]
    same.append(make(reading="official"))
    assert {json.dumps(judge.identity()) for judge in same} == {json.dumps(make().identity())}


def test_fields_that_a_server_does_not_know_can_be_left_out(server, make):
    make(options={}, limit_field="max_completion_tokens", max_tokens=9).verdicts(rows(1))
    body = server.requests[0][3]
    assert "temperature" not in body and "max_tokens" not in body
    assert body["max_completion_tokens"] == 9


TROUBLE = {
    "busy": ("json", 429, {"error": "slow down"}, {}),
    "busy with a time": ("json", 429, {}, {"Retry-After": "0.02"}),
    "overloaded": ("json", 503, {}, {}),
    "bad gateway": ("raw", 502, b"<html>", {}),
    "a page in place of JSON": ("raw", 200, b"<html>", {}),
    "a list in place of an object": ("raw", 200, b"[]", {}),
    "reset": ("reset",),
    "another protocol": ("garbage",),
    "slow": ("slow", 0.5),
    "half an answer": ("raw", 200, b'{"choices"', {}, 100),
    "nothing": ("raw", 200, b"", {}),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_that_passes_is_survived(server, make, trouble):
    server.script = [TROUBLE[trouble]] * 2
    policy = dataclasses.replace(QUICK, timeout_s=0.2 if trouble == "slow" else 5.0)
    assert make(retry=policy).verdicts(rows(1)) == [YES]
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        said(None),
        said("not a dictionary"),
        said("{'pred': 'yes', 'score': 'high'}"),
        said("{'pred': 'yes'}"),
        {"choices": []},
        {"choices": [{"message": {}}]},
        {"choices": "x"},
        {},
        said("\ud800"),
        said("\ud800", model="\udc00"),
    ],
)
def test_replies_without_a_verdict_are_asked_for_again_then_broken(server, make, answer):
    server.otherwise = ("json", 200, answer, {})
    (verdict,) = make().verdicts(rows(1))
    assert verdict.broken and not verdict.pred and verdict.score is None
    reminders = [body["messages"][-1]["content"] for *_, body in server.requests]
    assert len(set(reminders)) == 3
    (again,) = make().verdicts(rows(1))
    assert again == verdict and len(server.requests) == 3


def waits(caplog):
    return [record.args[-1] for record in caplog.records if record.name.endswith("judges.client")]


def test_waits_double_up_to_the_longest_and_the_servers_own_word_counts(server, make, caplog):
    server.script = [TROUBLE["overloaded"]] * 5 + [TROUBLE["busy with a time"]]
    policy = RetryPolicy(tries=9, first_wait_s=0.01, longest_wait_s=0.04)
    with caplog.at_level(logging.WARNING):
        make(retry=policy).verdicts(rows(1))
    for waited, base in zip(waits(caplog)[:5], (0.01, 0.02, 0.04, 0.04, 0.04), strict=True):
        assert base <= waited <= 1.25 * base
    assert waits(caplog)[5] == 0.02


def test_a_date_says_how_long_to_wait_too(server, make, caplog):
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    server.script = [("json", 503, {}, {"Retry-After": date})]
    with pytest.raises(JudgeError, match=r"asks to wait (28|29|30) s .HTTP 503.*is kept"):
        make().verdicts(rows(1))


def test_a_server_that_never_answers_ends_the_run_and_keeps_what_it_said(server, make):
    server.script = [server.otherwise] * 2
    server.otherwise = TROUBLE["overloaded"]
    with pytest.raises(JudgeError, match="did not answer in 4 tries .HTTP 503.*is kept"):
        make().verdicts(rows(4))
    assert len(server.requests) == 2 + 4
    server.otherwise = ("json", 200, said(GOOD), {})
    assert make().verdicts(rows(4)) == [YES] * 4
    assert len(server.requests) == 2 + 4 + 2


def test_no_server_at_all(make):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(JudgeError, match="did not answer in 4 tries .no answer: .*Connection"):
        make(address=address).verdicts(rows(1))


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, {}), (405, {}), (429, {"error": {"code": "insufficient_quota"}})],
)  # fmt: skip
def test_a_refusal_of_all_ends_the_run_at_once(server, make, status, body):
    server.otherwise = ("json", status, body, {})
    with pytest.raises(JudgeError, match=f"refuses: HTTP {status}.*check its address"):
        make(parallel=2).verdicts(rows(50))
    assert len(server.requests) < 10


def test_a_refused_request_is_broken_not_no_and_is_asked_again_next_time(server, make):
    good, bad = server.otherwise, ("json", 400, {"error": "content filter"}, {})
    server.script = [good, bad]
    verdicts = make().verdicts(rows(3))
    assert verdicts[0] == verdicts[2] == YES
    assert verdicts[1].broken.startswith("refused: HTTP 400") and len(server.requests) == 3
    assert make().verdicts(rows(3)) == [YES] * 3


def test_when_every_request_is_refused_the_settings_are_wrong(server, make):
    server.otherwise = ("json", 400, {"error": "no such model"}, {})
    with pytest.raises(JudgeError, match="refused the first 5.*no such model.*check the model's"):
        make().verdicts(rows(50))
    assert len(server.requests) < 10


def test_a_certificate_that_nobody_vouches_for_ends_the_run_at_once(tmp_path, monkeypatch):
    set_key(monkeypatch)
    certificate = ROOT / "tests" / "judge_server.pem"  # of 127.0.0.1, signed by itself
    with serving(certificate) as server:
        judge = endpoint_judge(server, tmp_path)
        with pytest.raises(JudgeError, match="certificate .*cannot be verified .*SSL_CERT_FILE"):
            judge.verdicts(rows(9))
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert judge.verdicts(rows(1)) == [YES]


def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(server, make, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", server.address.removesuffix("/v1"))
    far = make(address="http://far.example/v1", key_variable="")
    assert far.verdicts(rows(1)) == [YES]
    assert server.requests[-1][1] == "http://far.example/v1/chat/completions"
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nobody is there
    assert make().verdicts(rows(1)) == [YES]
    assert server.requests[-1][1] == "/v1/chat/completions"
    monkeypatch.setenv("ALL_PROXY", "nonsense://x")
    with pytest.raises(JudgeError, match="the proxy or certificate of the environment"):
        make(model="other").verdicts(rows(1))


def test_a_redirect_is_not_followed_because_the_key_would_be(server, make):
    server.otherwise = ("raw", 302, b"", {"Location": f"{server.address}/elsewhere"})
    with pytest.raises(JudgeError, match="refuses: HTTP 302"):
        make().verdicts(rows(1))
    assert [path for _, path, *_ in server.requests] == ["/v1/chat/completions"]


def test_several_at_a_time_give_the_same_verdicts_in_order(server, make):
    def reply(body):
        number = int(body["messages"][-1]["content"].split("what is ")[1].split("?")[0])
        time.sleep(0.02 * (number % 3))
        return "json", 200, said(str({"pred": "no", "score": number % 6})), {}

    server.otherwise = reply
    verdicts = make(parallel=8).verdicts(rows(24))
    assert [verdict.score for verdict in verdicts] == [i % 6 for i in range(24)]
    assert len(server.requests) == 24


# Price, and a kill


def test_the_price_is_that_of_the_tokens(make):
    assert make().estimate(rows(2)).price is None
    estimate = make(price_in=1000.0, price_out=2000.0).estimate(rows(2))
    assert estimate.price == (estimate.tokens_in * 1000 + estimate.tokens_out * 2000) / 1_000_000
    assert "at a price not given" in str(make().estimate(rows(2)))


ASK = """
import sys
sys.path.insert(0, "tests")
from judge_server import rows
from sparsevlm.evaluation.judges.endpoint import EndpointJudge
from sparsevlm.evaluation.judges.prompts import TASKS
judge = EndpointJudge(task=TASKS["tgif"], folder=sys.argv[1], model="judge", address=sys.argv[2],
                      key_variable="JUDGE_KEY", parallel=1)
print(len(judge.verdicts(rows(30))))
"""


def test_a_killed_run_asks_nothing_twice_that_was_answered(server, tmp_path):
    running = []

    def kill(body):  # while the client waits for this answer
        os.kill(running[-1].pid, signal.SIGKILL)
        running[-1].wait()
        return ("reset",)

    for before in (4, 9):
        server.script = [server.otherwise] * before + [kill]
        with server.lock:
            running.append(subprocess.Popen([sys.executable, "-c", ASK, tmp_path, server.address],
                                            cwd=ROOT))  # fmt: skip
        assert running[-1].wait() == -signal.SIGKILL
    done = subprocess.run(
        [sys.executable, "-c", ASK, tmp_path, server.address], cwd=ROOT, capture_output=True
    )
    assert done.stdout == b"30\n", done.stderr
    assert len(server.requests) == 30 + 2  # two were under way when their process was killed
