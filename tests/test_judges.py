"""Reading replies, wording prompts, keeping transcripts, and judging a record."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sparsevlm.benchmarks import mmvet, videoqa
from sparsevlm.benchmarks.sample import Sample
from sparsevlm.judges import (
    TASKS,
    Estimate,
    JudgeError,
    JudgeRequest,
    MatchJudge,
    Prompt,
    Verdict,
    judge_rows,
    task_of,
    verdict_path,
    verdicts_beside,
    with_verdicts,
)
from sparsevlm.judges.chat import ChatJudge
from sparsevlm.judges.replies import ReplyError, read_fraction, read_video_reply
from sparsevlm.judges.transcripts import Reply, key_of, known_replies, transcripts

VIDEO, MM_VET = TASKS["tgif"], TASKS["mmvet"]


def row(prediction, answer="a dog", id="1", **fields):
    sample = Sample(id=id, media="clip:0", question="what runs?", answer=answer, **fields)
    return {**sample.to_json(), "prediction": prediction}


def request(prediction="a cat", id="1", **fields):
    return JudgeRequest.from_row(row(prediction, id=id, **fields))


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
    ],
)
def test_replies_are_read_leniently_in_form(reply):
    assert read_video_reply(reply) == Verdict(pred="yes", score=4)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "lacks pred and score"),
        ("yes", "lacks pred and score"),
        ("{'pred': 'yes'}", "lacks score"),
        ("{'score': 4}", "lacks pred"),
        ("{'pred': 'maybe', 'score': 4}", "must be yes or no"),
        ("{'pred': 'yes', 'score': 6}", "from 0 to 5"),
        ("{'pred': 'yes', 'score': -1}", "from 0 to 5"),
        ("pred: yes, score: -1", "from 0 to 5"),
        ("{'pred': 'yes', 'score': '4/10'}", "from 0 to 5"),
        ("{'pred': 'yes', 'score': 4/10}", "from 0 to 5"),
        ("{'pred': 'yes', 'score': 'high'}", "from 0 to 5"),
        ("{'pred': 'yes', 'score': True}", "from 0 to 5"),
        ("{'pred': 'yes', 'score': 1e999}", "from 0 to 5"),
        ("{'pred': 'yes', 'score': None}", "from 0 to 5"),
        ("{'pred': 'yes', 'score': 4} or {'pred': 'no', 'score': 1}", "several verdicts"),
        ("pred: yes score: 4, or pred: no score: 1", "several verdicts"),
        ("{'pred': __import__('os').getcwd(), 'score': 4}", "lacks"),
        ("{" * 5000 + "}" * 5000, "lacks"),
        ("x" * 20_000, "too many"),
    ],
)
def test_replies_without_a_verdict_are_broken_and_never_no(reply, reason):
    with pytest.raises(ReplyError, match=reason):
        read_video_reply(reply)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("0.5", 0.5),
        ("1", 1),
        ("Grade: 0.4.", 0.4),
        ("0.0\n1.0", 0),
        ("1.0", 1),
        ("<think>3 of 4</think>0.75", 0.75),
    ],
)
def test_fractions(reply, score):
    assert read_fraction(reply) == Verdict(score=score)


@pytest.mark.parametrize("reply", ["", "none", "5", "-0.5", "50 %", "1.1"])
def test_fractions_out_of_range_are_broken(reply):
    with pytest.raises(ReplyError):
        read_fraction(reply)


# Prompts


def test_a_prompt_says_what_is_judged_and_leaves_other_braces_alone():
    asked = JudgeRequest("1", "is {answer} there?", "no {question}", "{prediction} {x}")
    system, user = VIDEO.prompt.messages(asked)
    assert system["role"] == "system" and user["role"] == "user"
    assert "Question: is {answer} there?\nCorrect answer: no {question}\n" in user["content"]
    assert "Answer to grade: {prediction} {x}\n" in user["content"]
    assert "{'pred': 'no', 'score': 1}" in user["content"]


def test_every_try_asks_something_else():
    conversations = [VIDEO.prompt.messages(request(), tries) for tries in range(3)]
    assert len({key_of(messages) for messages in conversations}) == 3


def test_facts_are_joined_as_mm_vet_joins_them():
    asked = request(answers=("red<OR>dark red", "a <OR>b"))
    assert asked.reference == "red <OR> dark red <AND> a <OR> b"
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
    assert prompt.messages(request(), 1)[1]["content"] == "what runs?/a dog/a cat\n\nr"
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


def test_which_benchmarks_are_judged():
    assert list(TASKS) == ["tgif", "msvd", "msrvtt", "activitynet", "mmvet"]
    with pytest.raises(ValueError, match="'gqa' needs no judge; these do: tgif"):
        task_of("gqa")


# A judge that runs in this process, so that every question can be counted


@dataclass(frozen=True, kw_only=True)
class Parrot(ChatJudge):
    """Replies with what its script has for the answer, one entry a try; a text refuses."""

    script: dict = field(default_factory=dict)
    asked_for: list = field(default_factory=list)

    def asked(self):
        return {"kind": "parrot"}

    def price(self, tokens_in, tokens_out):
        return (tokens_in + tokens_out) / 1000

    def ask(self, conversations, keep):
        refused = {}
        for index, messages in enumerate(conversations):
            content = messages[-1]["content"]
            self.asked_for.append(content)
            name = content.split("Answer to grade: ")[1].split("\n")[0]
            reply = self.script.get(name, [GOOD])[content.count(self.prompt.reminder)]
            if isinstance(reply, Exception):
                raise reply
            if reply.startswith("refused"):
                refused[index] = reply
            else:
                keep(index, Reply(reply))
        return refused


GOOD = "{'pred': 'yes', 'score': 4}"


def test_a_reply_that_cannot_be_read_is_asked_for_again_and_then_recorded_as_broken(tmp_path):
    script = {"a": ["what?", GOOD], "b": ["1", "2", "3"], "c": [GOOD], "d": ["refused: HTTP 400"]}
    seen = []
    judge = Parrot(task=VIDEO, folder=tmp_path, script=script, report=seen.append)
    verdicts = judge.verdicts([request(name, id=name) for name in "abcd"])
    assert verdicts[0] == verdicts[2] == Verdict(pred="yes", score=4)
    assert verdicts[1].broken == "the reply lacks pred and score"
    assert verdicts[3].broken == "refused: HTTP 400"
    assert len(judge.asked_for) == 4 + 2 + 1  # a refused one is not asked again
    assert seen == [1, 2, 3, 1, 2, 1]


def test_nothing_is_asked_twice(tmp_path):
    script = {"b": ["1", "2", "3"]}
    first = Parrot(task=VIDEO, folder=tmp_path, script=script)
    asked = [request("a", id="1"), request("a", id="2"), request("b", id="3")]
    verdicts = first.verdicts(asked)
    assert len(first.asked_for) == 1 + 3
    again = Parrot(task=VIDEO, folder=tmp_path, script={"a": [], "b": []})
    assert again.verdicts(asked) == verdicts
    assert again.asked_for == []
    assert again.estimate(asked) == Estimate(3, 0, 0, 0, 0.0)


def test_what_was_said_before_a_failure_is_kept(tmp_path):
    script = {"b": [JudgeError("down")]}
    asked = [request(name, id=name) for name in "abc"]
    judge = Parrot(task=VIDEO, folder=tmp_path, script=script)
    with pytest.raises(JudgeError, match="down"):
        judge.verdicts(asked)
    again = Parrot(task=VIDEO, folder=tmp_path)
    again.verdicts(asked)
    assert ["Answer to grade: a\n" in text for text in again.asked_for] == [False, False]


def test_the_estimate_counts_what_has_to_be_asked(tmp_path):
    judge = Parrot(task=VIDEO, folder=tmp_path)
    asked = [request("a", id="1"), request("a", id="2"), request("b", id="3")]
    characters = sum(len(m["content"]) for r in asked[1:] for m in VIDEO.prompt.messages(r))
    estimate = judge.estimate(asked)
    assert (estimate.requests, estimate.to_ask, estimate.tokens_out) == (3, 2, 2 * 64)
    assert characters / 4 < estimate.tokens_in < characters / 2
    assert estimate.price == (estimate.tokens_in + estimate.tokens_out) / 1000
    assert str(estimate).startswith("3 answers to judge, 2 of them to be asked for up to ")
    assert not list(tmp_path.iterdir())  # estimating leaves nothing behind


def test_settings_out_of_range_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1"):
        Parrot(task=VIDEO, folder=tmp_path, tries=0)
    with pytest.raises(ValueError, match="at least 1"):
        Parrot(task=VIDEO, folder=tmp_path, max_tokens=0)


# Transcripts

WHO = {"kind": "parrot"}


def say(number):
    return [{"role": "user", "content": str(number)}]


def test_half_a_line_is_cut_off_and_the_rest_stays(tmp_path):
    with transcripts(tmp_path, WHO) as kept:
        kept.add(say(1), Reply("one", {"served_by": "x"}))
    whole = kept.path.read_bytes()
    kept.path.write_bytes(whole + b'{"key": "2", "rep')
    assert len(known_replies(tmp_path, WHO)) == 1
    with transcripts(tmp_path, WHO) as kept:
        assert kept[say(1)] == Reply("one", {"served_by": "x"})
        assert kept.path.read_bytes() == whole
        kept.add(say(2), Reply("two"))
    assert len(known_replies(tmp_path, WHO)) == 2
    assert json.loads(whole.splitlines()[0]) == {"judge": WHO}


def test_judges_do_not_share_transcripts(tmp_path):
    with transcripts(tmp_path, WHO) as kept:
        kept.add(say(1), Reply("one"))
    assert say(1) in known_replies(tmp_path, WHO)
    assert say(1) not in known_replies(tmp_path, {"kind": "other"})


def test_two_processes_do_not_ask_one_judge(tmp_path):
    with transcripts(tmp_path, WHO), pytest.raises(JudgeError, match="another process"):
        with transcripts(tmp_path, WHO):
            pass


def test_an_entry_of_another_shape_is_named(tmp_path):
    with transcripts(tmp_path, WHO) as kept:
        pass
    with kept.path.open("a") as file:
        file.write('{"key": "x"}\n')
    with pytest.raises(JudgeError, match="damaged, an entry has no 'reply'"):
        known_replies(tmp_path, WHO)


def _fill(folder):
    with transcripts(folder, WHO) as kept:
        for number in range(len(kept), 10**6):
            kept.add(say(number), Reply("x" * 2000))


def test_a_killed_process_loses_at_most_what_it_was_writing(tmp_path):
    context = multiprocessing.get_context("fork")
    before = 0
    for _ in range(5):
        child = context.Process(target=_fill, args=(tmp_path,))
        child.start()
        while len(known_replies(tmp_path, WHO)) < before + 5 and child.is_alive():
            pass
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        with transcripts(tmp_path, WHO) as kept:
            assert len(kept) >= before + 5
            assert all(say(number) in kept for number in range(len(kept)))
            before = len(kept)


def test_a_full_disk_is_said_and_leaves_whole_lines(tmp_path):
    script = """
import resource, sys
from pathlib import Path
from sparsevlm.judges.transcripts import transcripts, Reply
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
with transcripts(Path(sys.argv[1]), {"kind": "parrot"}) as kept:
    for number in range(10):
        kept.add([{"role": "user", "content": str(number)}], Reply("x" * 900))
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True)
    assert "JudgeError: cannot write" in done.stderr and "is kept" in done.stderr
    kept = known_replies(tmp_path, WHO)
    assert 3 <= len(kept) <= 5
    assert kept.path.read_bytes().endswith(b"\n")


# The match, and a record


def test_the_match_judge_says_what_the_benchmark_says():
    rows = [row("A dog runs.", id="1"), row("a cat", id="2")]
    verdicts = MatchJudge(VIDEO).verdicts([JudgeRequest.from_row(r) for r in rows])
    assert verdicts == [Verdict(pred="yes", score=5), Verdict(pred="no", score=0)]
    facts = row("red", answers=("red", "blue"))
    (verdict,) = MatchJudge(MM_VET).verdicts([JudgeRequest.from_row(facts)])
    assert verdict == Verdict(score=mmvet.judge(facts)) == Verdict(score=0.5)
    assert MatchJudge(VIDEO).estimate(rows).to_ask == 0


def always(estimate):
    return True


@pytest.fixture
def judged(tmp_path):
    rows = [row("a", id="1"), row("b", id="2"), row("c", id="3")]
    script = {"b": ["1", "2", "3"], "c": ["{'pred': 'no', 'score': 1}"]}
    judge = Parrot(task=VIDEO, folder=tmp_path / "cache", script=script)
    return rows, judge, verdict_path(tmp_path / "cells" / "0123.json", judge)


def test_a_record_is_judged_once_and_its_score_says_how_many_are_broken(judged):
    rows, judge, path = judged
    values = judge_rows(rows, judge, path, confirm=always)
    assert values["broken"] == 1
    score = videoqa.score(with_verdicts(rows, values["verdicts"]))
    assert score["judge"] == {
        "accuracy": 50.0, "score": 2.5, "judged": 2, "broken": 1, "missing": 0,
    }  # fmt: skip
    assert path.parent.name == "cells" and path.name.startswith("0123.verdicts-")
    before = path.read_bytes()
    assert judge_rows(rows, judge, path, confirm=always) == values
    path.unlink()
    judge_rows(rows, judge, path, confirm=lambda estimate: pytest.fail("asked about known ones"))
    assert path.read_bytes() == before
    assert len(judge.asked_for) == 5


def test_nothing_is_asked_without_a_yes(judged):
    rows, judge, path = judged
    shown = []
    with pytest.raises(JudgeError, match="not confirmed, nothing was asked: 3 answers to judge, 3"):
        judge_rows(rows, judge, path, confirm=shown.append)
    assert shown == [judge.estimate([JudgeRequest.from_row(r) for r in rows])]
    assert judge.asked_for == [] and not path.exists()


def test_verdicts_on_other_answers_and_damaged_ones_are_refused(judged):
    rows, judge, path = judged
    judge_rows(rows, judge, path, confirm=always)
    with pytest.raises(JudgeError, match="other answers"):
        judge_rows([{**rows[0], "prediction": "z"}, *rows[1:]], judge, path, confirm=always)
    whole = path.read_text()
    for damaged in (whole[:100], "[]", whole.replace('"broken": 1', '"b": 1')):
        path.write_text(damaged)
        with pytest.raises(JudgeError, match="damaged"):
            judge_rows(rows, judge, path, confirm=always)
    path.write_text(whole.replace('"broken"', '"why"'))
    with pytest.raises(JudgeError, match="damaged"):
        judge_rows(rows, judge, path, confirm=always)


def test_what_all_judges_said_lies_beside_the_record(judged):
    rows, judge, path = judged
    record = path.with_name("0123.json")
    assert verdicts_beside(record, rows) == []
    values = [
        judge_rows(rows, j, verdict_path(record, j), confirm=always)
        for j in (judge, MatchJudge(VIDEO))
    ]
    (path.parent / "0123.verdicts-junk.partial.json").write_text("{")
    assert verdicts_beside(record, rows) == sorted(values, key=lambda v: v["judge_id"])
    with pytest.raises(JudgeError, match="of another judge"):
        judge_rows(rows, MatchJudge(VIDEO), path, confirm=always)


def test_every_row_needs_a_verdict():
    with pytest.raises(ValueError, match="2 rows have no verdict, the first is '1'"):
        with_verdicts([row("a", id="1"), row("b", id="2")], {})


def test_judging_loads_no_torch(tmp_path):
    code = "import sys, sparsevlm.judges; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
    )
