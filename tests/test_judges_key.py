"""The key of a judge is sent to its server and is nowhere else."""

from __future__ import annotations

import json
import logging
import traceback
from functools import partial

import pytest
from judge_server import GOOD, KEY, endpoint_judge, rows, said

from sparsevlm.evaluation.judges.interface import JudgeError, Verdict


@pytest.fixture
def make(server, tmp_path):
    return partial(endpoint_judge, server, tmp_path / "cache")


def texts_of(error):
    """Everything that a log of the exception could show, causes included."""
    while error is not None:
        yield from (str(error), repr(error), *map(str, error.args))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize("answer", [f"your key is {KEY}", GOOD])
def test_the_key_is_in_no_file_error_log_or_repr(server, make, tmp_path, caplog, answer):
    echo = {"error": {"message": f"bad key {KEY}"}}
    server.script = [
        ("json", 200, said(answer, system_fingerprint=f"of {KEY}"), {}),
        ("json", 429, echo, {}),
        ("raw", 500, KEY.encode(), {}),
        ("json", 400, echo, {}),
        ("raw", 401, b"", {}, 0, f"Not {KEY}"),
    ]
    judge = make()
    with caplog.at_level(logging.DEBUG), pytest.raises(JudgeError) as caught:
        judge.verdicts(rows(9))
    assert "[key]" in str(caught.value)
    shown = [repr(judge), str(judge), json.dumps(judge.identity()), caplog.text]
    shown += [*texts_of(caught.value), "".join(traceback.format_exception(caught.value))]
    assert not [text for text in shown if KEY in text]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not [path for path in files if KEY.encode() in path.read_bytes()]
    assert any(KEY in headers["Authorization"] for _, _, headers, _ in server.requests)


def test_a_missing_or_spoilt_key_is_said_by_the_name_of_its_variable(server, make, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", " ")
    with pytest.raises(JudgeError, match="set the environment variable JUDGE_KEY"):
        make().verdicts(rows(1))
    for spoilt in (f"{KEY}\nX: y", f'"{KEY}"', f"{KEY} {KEY}", f"{KEY}é"):
        monkeypatch.setenv("JUDGE_KEY", spoilt)
        with pytest.raises(JudgeError, match="JUDGE_KEY holds") as caught:
            make().verdicts(rows(1))
        assert KEY not in str(caught.value) and server.requests == []


def test_a_server_without_a_key(server, make):
    assert make(key_variable="").verdicts(rows(1)) == [Verdict(pred="yes", score=4)]
    assert "Authorization" not in server.requests[0][2]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"address": "ftp://x"}, "must start with https"),
        ({"address": "api.openai.com"}, "must start with https"),
        ({"address": f"https://me:{KEY}@x/v1"}, "must not hold a name"),
        ({"address": f"https://x/v1?key={KEY}"}, "must not hold a name"),
        ({"address": "http://far.example/v1"}, "unencrypted to far.example"),
        ({"options": {"messages": []}}, "must not hold messages"),
        ({"options": {"max_tokens": 1}}, "must not hold max_tokens"),
    ],
)
def test_settings_that_are_wrong_or_unsafe_are_refused(make, settings, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        make(**settings)
    assert KEY not in str(caught.value)
