"""Reading a judge's replies, and the wording of what it is asked."""

from __future__ import annotations

import json
from functools import partial

import pytest
from judge_parrot import MM_VET, VIDEO, Parrot, row

from sparsevlm.evaluation.judges.chat import key_of
from sparsevlm.evaluation.judges.interface import Verdict
from sparsevlm.evaluation.judges.prompts import TASKS, Prompt, reference
from sparsevlm.evaluation.judges.replies import (
    ReplyError,
    read_fraction,
    read_strictly,
    read_video_reply,
)

# Replies


@pytest.mark.parametrize(
    "reply",
    [
        "{'pred': 'yes', 'score': 4}",
        '{"pred": "yes", "score": 4}',
        "```python\n{'pred': 'Yes', 'score': '4'}\n```",
        "Sure! {'pred': 'yes.', 'score': 4.8} I hope this helps.",
        "{'pred': 'yes', 'score': '4/5'}",
        "{'pred': 'yes', 'score': 4/5}",
        "{'pred': 'yes', 'score': '4 out of 5'}",
        "{'pred': True, 'score': 4}",
        "<think>'pred': 'no', 'score': 1? No.</think>\n{'pred': 'yes', 'score': 4}",
        "{'Pred': 'yes', 'Score': 4}",
        "{'pred': 'yes', 'score': 4",
        "pred: yes, score: 4",
        "'pred': yes\n'score': 4",
        "{'pred': 'yes', 'score': 4} {'score': 4, 'pred': 'yes'}",
        "{'pred': 'yes', 'score': 4, 'other answer': {'pred': 'no', 'score': 1}}",
        "So: {'result': {'pred': 'yes', 'score': 4, 'why': {'score': {'pred': 'no'}}}}",
        "{ {'pred': 'yes', 'score': 4}",
    ],
)
def test_replies_are_read_leniently_in_form(reply):
    assert read_video_reply(reply) == read_strictly(reply) == Verdict(pred="yes", score=4)


@pytest.mark.parametrize(
    ("reply", "pred", "score"),
    [
        ("{'pred': 'yes, it is', 'score': 5}", "yes", 5),
        ("{'pred': 'not sure', 'score': 2}", "no", 2),
        ("{'pred': 'No, yes', 'score': 2}", "yes", 2),
        ("{'pred': 'unknown', 'score': '3'}", "no", 3),
        ("{'pred': 'maybe', 'score': 4}", "neither", 4),
        ("{'pred': '', 'score': 0}", "neither", 0),
        ("{'pred': 'yes', 'score': 6}", "yes", 6),
        ("{'pred': 'yes', 'score': 100.9}", "yes", 100),
        ("{'pred': 'yes', 'score': -1}", "yes", -1),
        ("{'pred': 'yes', 'score': True}", "yes", 1),
        ("  {'score': 4, 'pred': 'YES', 'reason': 'no'}\n", "yes", 4),
        ("{'pred': 'no', 'pred': 'yes', 'score': 4}", "yes", 4),
        (
            "<think>{'pred': 'no', 'score': 1}?</think>\n\n{'pred': 'yes, it is', 'score': 6}",
            "yes",
            6,
        ),
    ],
)
def test_what_the_official_script_counts_is_counted_unless_strict(reply, pred, score):
    assert read_video_reply(reply) == Verdict(pred=pred, score=score)
    if reply[0] == "{" and "'pred': 'no', 'pred'" not in reply:
        with pytest.raises(ReplyError):
            read_strictly(reply)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "lacks pred and score"),
        ("yes", "lacks pred and score"),
        ("{'pred': 'yes'}", "lacks score"),
        ("{'score': 4}", "lacks pred"),
        ("Sure: {'pred': 'maybe', 'score': 4}", "must be yes or no"),
        ("Sure: {'pred': 'yes', 'score': 6}", "from 0 to 5"),
        ("```{'pred': 'yes', 'score': -1}```", "from 0 to 5"),
        ("pred: yes, score: -1", "from 0 to 5"),
        ("{'pred': 'yes', 'score': '4/10'}", "from 0 to 5"),
        ("{'pred': 'yes', 'score': 4/10}", "from 0 to 5"),
        ("{'pred': 'yes', 'score': 'high'}", "from 0 to 5"),
        ('{"pred": "yes", "score": true}', "from 0 to 5"),
        ("{'pred': ['yes'], 'score': 9}", "must be yes or no"),
        (f"{{'pred': 'yes', 'score': {'9' * 400}}}", "from 0 to 5"),
        ("{'yes', 4}", "lacks"),
        ("'yes'", "lacks"),
        ("4", "lacks"),
        ("{'pred': 'yes', 'score': 1e999}", "from 0 to 5"),
        ("{'pred': 'yes', 'score': None}", "from 0 to 5"),
        ("{'pred': 'yes', 'score': 4} or {'pred': 'no', 'score': 1}", "several verdicts"),
        ("pred: yes score: 4, or pred: no score: 1", "several verdicts"),
        ("{'pred': __import__('os').getcwd(), 'score': 4}", "lacks"),
        ("{" * 5000 + "}" * 5000, "lacks"),
        ("x" * 20_000, "too many"),
        ("<think>{'pred': 'yes', 'score': 4}, or", "lacks"),
    ],
)
def test_replies_without_a_verdict_are_broken_and_never_no(reply, reason):
    for read in (read_video_reply, read_strictly):
        with pytest.raises(ReplyError, match=reason):
            read(reply)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("0.5", 0.5),
        ("1", 1),
        ("Grade: 0.4.", 0.4),
        ("0.0\n1.0", 0),
        ("1.0", 1),
        ("<think>3 of 4</think>0.75", 0.75),
        (".5", 0.5),
        ("**0.8/1.0**", 0.8),
        ("1e-1", 0.1),
        ("Level3: 0.2, because", 0.2),
    ],
)
def test_fractions(reply, score):
    assert read_fraction(reply) == Verdict(score=score)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "none",
        "5",
        "-0.5",
        "50 %",
        "1.1",
        "1/2",
        "1%",
        "1 %",
        "0,5",
        "0.4-0.6",
        "1st",
        "nan",
        "1e999",
        "<think>0.5 of it, as",
    ],
)
def test_what_is_no_fraction_is_broken(reply):
    with pytest.raises(ReplyError):
        read_fraction(reply)


# Prompts


def test_a_prompt_says_what_is_judged_and_leaves_other_braces_alone():
    asked = row("{prediction} {x}", "no {question}", question="is {answer} there?")
    system, user = VIDEO.prompt.messages(asked)
    assert system["role"] == "system" and user["role"] == "user"
    assert "Question: is {answer} there?\nCorrect answer: no {question}\n" in user["content"]
    assert "Answer to grade: {prediction} {x}\n" in user["content"]
    assert "{'pred': 'no', 'score': 1}" in user["content"]


def test_every_try_asks_something_else():
    conversations = [VIDEO.prompt.messages(row(), tries) for tries in range(3)]
    assert len({key_of(messages) for messages in conversations}) == 3


def test_facts_are_joined_as_mm_vet_joins_them():
    asked = row(answers=("red<OR>dark red", "a <OR>b"))
    assert reference(asked) == "red <OR> dark red <AND> a <OR> b"
    (message,) = MM_VET.prompt.messages(asked)
    assert message["content"].endswith("what runs? | red <OR> dark red <AND> a <OR> b | a cat |")


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "prompt.json"
    user = "{question}/{answer}/{prediction}"
    path.write_text(json.dumps({"system": "s", "user": user, "reminder": "r"}))
    return path


def test_a_wording_can_come_from_a_file(own, tmp_path):
    prompt = Prompt.from_file(own)
    assert prompt.messages(row(), 1)[1]["content"] == "what runs?/a dog/a cat\n\nr"
    judges = [Parrot(task=VIDEO, folder=tmp_path, prompt=p) for p in (None, prompt)]
    assert judges[0].identity() != judges[1].identity()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user": "{question} {answer}"}, "{prediction}"),
        ({"reminder": " "}, "a reminder"),
        ({"system": None}, "must be text"),
        ({"extra": ""}, "exactly the keys"),
    ],
)
def test_an_unusable_wording_is_refused(own, change, reason):
    own.write_text(json.dumps(json.loads(own.read_text()) | change))
    with pytest.raises(ValueError, match=reason):
        Prompt.from_file(own)


def test_a_file_that_is_no_json_is_refused(own):
    own.write_text("{")
    with pytest.raises(ValueError, match="must be JSON"):
        Prompt.from_file(own)


def test_a_judge_reads_as_it_is_told(tmp_path):
    script = {"a cat": ["{'pred': 'yes, it is', 'score': 6}"] * 3}
    make = partial(Parrot, task=VIDEO, folder=tmp_path, script=script)
    assert make().verdicts([row()]) == [Verdict(pred="yes", score=6)]
    (verdict,) = make(reading="strict").verdicts([row()])
    assert "pred must be yes or no" in verdict.broken
    with pytest.raises(ValueError, match="videoqa has no reading 'x'; known: official, strict"):
        make(reading="x")
    with pytest.raises(ValueError, match="mmvet has no reading 'strict'; known: number"):
        make(task=MM_VET, reading="strict")


def test_which_benchmarks_are_judged():
    assert list(TASKS) == ["tgif", "msvd", "msrvtt", "activitynet", "mmvet"]
