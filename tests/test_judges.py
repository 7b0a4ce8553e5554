"""A judge asks again what it cannot read and nothing twice; a record is judged once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from judge_parrot import GOOD, MM_VET, VIDEO, Parrot, row

from sparsevlm.benchmarks import mmvet, videoqa
from sparsevlm.evaluation.judges.command import MatchJudge
from sparsevlm.evaluation.judges.interface import CostEstimate, JudgeError, Verdict
from sparsevlm.evaluation.judges.records import judge_rows, verdict_path


def test_a_reply_that_cannot_be_read_is_asked_for_again_and_then_recorded_as_broken(tmp_path):
    script = {"a": ["what?", GOOD], "b": ["1", "2", "3"], "c": [GOOD], "d": ["refused: HTTP 400"]}
    judge = Parrot(task=VIDEO, folder=tmp_path, script=script)
    verdicts = judge.verdicts([row(name, id=name) for name in "abcd"])
    assert verdicts[0] == verdicts[2] == Verdict(pred="yes", score=4)
    assert verdicts[1].broken == "the reply lacks pred and score"
    assert verdicts[3].broken == "refused: HTTP 400"
    assert len(judge.asked_for) == 4 + 2 + 1  # a refused one is not asked again


def test_nothing_is_asked_twice(tmp_path):
    script = {"b": ["1", "2", "3"]}
    first = Parrot(task=VIDEO, folder=tmp_path, script=script)
    asked = [row("a", id="1"), row("a", id="2"), row("b", id="3")]
    verdicts = first.verdicts(asked)
    assert len(first.asked_for) == 1 + 3
    again = Parrot(task=VIDEO, folder=tmp_path, script={"a": [], "b": []})
    assert again.verdicts(asked) == verdicts
    assert again.asked_for == []
    assert again.estimate(asked) == CostEstimate(3, 0, 0, 0, 0.0)


def test_what_was_said_before_a_failure_is_kept(tmp_path):
    script = {"b": [JudgeError("down")]}
    asked = [row(name, id=name) for name in "abc"]
    judge = Parrot(task=VIDEO, folder=tmp_path, script=script)
    with pytest.raises(JudgeError, match="down"):
        judge.verdicts(asked)
    again = Parrot(task=VIDEO, folder=tmp_path)
    again.verdicts(asked)
    assert ["Answer to grade: a\n" in text for text in again.asked_for] == [False, False]


def test_the_estimate_counts_what_has_to_be_asked(tmp_path):
    judge = Parrot(task=VIDEO, folder=tmp_path)
    asked = [row("a", id="1"), row("a", id="2"), row("b", id="3")]
    characters = sum(len(m["content"]) for r in asked[1:] for m in VIDEO.prompt.messages(r))
    estimate = judge.estimate(asked)
    assert (estimate.answers, estimate.to_ask, estimate.tokens_out) == (3, 2, 2 * 64)
    assert characters / 4 < estimate.tokens_in < characters / 2
    assert estimate.price == (estimate.tokens_in + estimate.tokens_out) / 1000
    assert str(estimate).startswith("3 answers to judge, 2 of them to be asked for up to ")
    assert not list(tmp_path.iterdir())  # estimating leaves nothing behind


# The match, and a record


def test_the_match_judge_says_what_the_benchmark_says():
    rows = [row("A dog runs.", id="1"), row("a cat", id="2")]
    verdicts = MatchJudge(VIDEO).verdicts(rows)
    assert verdicts == [Verdict(pred="yes", score=5), Verdict(pred="no", score=0)]
    facts = row("red", answers=("red", "blue"))
    (verdict,) = MatchJudge(MM_VET).verdicts([facts])
    assert verdict == Verdict(score=mmvet.score_sample(facts)) == Verdict(score=0.5)
    assert MatchJudge(VIDEO).estimate(rows).to_ask == 0


@pytest.fixture
def judged(tmp_path):
    rows = [row("a", id="1"), row("b", id="2"), row("c", id="3")]
    script = {"b": ["1", "2", "3"], "c": ["{'pred': 'no', 'score': 1}"]}
    judge = Parrot(task=VIDEO, folder=tmp_path / "cache", script=script)
    return rows, judge, verdict_path(tmp_path / "runs" / "0123.json", judge)


def test_a_record_is_judged_once_and_its_score_says_how_many_are_broken(judged):
    rows, judge, path = judged
    values = judge_rows(rows, judge, path)
    assert values["broken"] == 1
    score = videoqa.score([{**row, "verdict": values["verdicts"][row["id"]]} for row in rows])
    assert score["judge"] == {
        "accuracy": 50.0, "score": 2.5, "judged": 2, "broken": 1, "missing": 0,
    }  # fmt: skip
    assert path.parent.name == "runs" and path.name.startswith("0123.verdicts-")
    before = path.read_bytes()
    assert judge_rows(rows, judge, path) == values
    path.unlink()
    judge_rows(rows, judge, path)  # from the transcripts
    assert path.read_bytes() == before
    assert len(judge.asked_for) == 5


def test_verdicts_of_others_and_damaged_ones_are_refused(judged):
    rows, judge, path = judged
    judge_rows(rows, judge, path)
    with pytest.raises(JudgeError, match="other answers"):
        judge_rows([{**rows[0], "prediction": "z"}, *rows[1:]], judge, path)
    with pytest.raises(JudgeError, match="of another judge"):
        judge_rows(rows, MatchJudge(VIDEO), path)
    whole = path.read_text()
    one = json.loads(whole)
    del one["verdicts"]["1"]
    for damaged in (
        whole[:100], "[]", whole.replace('"broken": 1', '"b": 1'),
        whole.replace('"broken"', '"why"'), whole.replace('"pred"', '"pre"'), json.dumps(one),
    ):  # fmt: skip
        path.write_text(damaged)
        with pytest.raises(JudgeError, match="damaged"):
            judge_rows(rows, judge, path)


def test_judging_loads_no_torch(tmp_path):
    code = "import sys, sparsevlm.evaluation.judges; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
    )
