"""Whose verdicts stand in a table, and what its page says of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from fabricated import SHAPE, fabricate, narrowed
from judge_parrot import Parrot
from test_claims import BY_ID

from sparsevlm.analysis import report, study, tables
from sparsevlm.analysis.study import DENSE_SETTING
from sparsevlm.evaluation.judges.command import MatchJudge
from sparsevlm.evaluation.judges.interface import JudgeError, Verdict
from sparsevlm.evaluation.judges.judgements import judging_of
from sparsevlm.evaluation.judges.prompts import TASKS
from sparsevlm.evaluation.judges.records import judge_rows, verdict_path
from sparsevlm.evaluation.results.store import Store
from sparsevlm.paper.claims import page as claims_page
from sparsevlm.paper.claims.collect import collect
from sparsevlm.paper.claims.records import NotJudgedError, ProfileRecords, Queries
from sparsevlm.paper.figures import figure_10
from sparsevlm.paper.tables import table_3

VIDEOS = narrowed("table_3", 40, methods=("sparsevlm", "fastv", "random"))
IMAGES = narrowed(
    "table_1", 24, benchmarks=("pope", "mmvet"), methods=("sparsevlm",), budgets=(192, 64)
)
SKILL = {"dense": 0.95, "sparsevlm": 0.8, "fastv": 0.5, "random": 0.45}
SPARSE = ("sparsevlm", 194)


@dataclass(frozen=True, kw_only=True)
class Lenient(Parrot):
    """Calls every third wrong answer right, and cannot be read now and then."""

    model: str = "lenient"

    def asked(self):
        return {"kind": "endpoint", "model": self.model, "address": "http://localhost:8000/v1"}

    def verdicts(self, rows):
        return [self._verdict(row) for row in rows]

    def _verdict(self, row):
        number = sum(map(ord, row["id"]))
        if number % 10 == 9:
            return Verdict(broken="it hesitates")
        right = row["prediction"] == row["answer"] or number % 3 == 0
        if self.task is TASKS["mmvet"]:
            return Verdict(score=0.8 if right else 0.1)
        return Verdict(pred="yes" if right else "no", score=4 if right else 1)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture(scope="module")
def videos():
    return fabricate(VIDEOS, SKILL)


def judge(store, records, make=Lenient, **settings):
    """Have records judged; return the id of the judge."""
    for record in records:
        if task := TASKS.get(record.run.benchmark):
            one = make(task=task, **settings)
            path = verdict_path(store.path(record.id), one)
            path.parent.mkdir(parents=True, exist_ok=True)
            found = judge_rows(record.predictions, one, path)["judge_id"]
    return found


def results_of(store, profile, records, choice=""):
    judging = judging_of(profile, records, choice, store)
    return study.from_records(profile, records, SHAPE, judging=judging)


def test_table_3_has_two_numbers_per_set_and_the_averages_of_both(store, videos, tmp_path):
    name = judge(store, videos, folder=tmp_path)
    results = results_of(store, VIDEOS, videos)
    rows = {one.run.benchmark: one.predictions for one in videos if one.run.method == "sparsevlm"}
    table = tables.numbers(results, table_3.columns(results)).loc[("194", "SparseVLM")]
    shares, points, unread = [], [], 0
    for benchmark in VIDEOS.benchmarks:
        found = Lenient(task=TASKS[benchmark], folder=tmp_path).verdicts(rows[benchmark])
        read = [one for one in found if not one.broken]
        shares.append(100 * sum(one.pred == "yes" for one in read) / len(read))
        points.append(sum(one.score for one in read) / len(read))
        unread += len(found) - len(read)
    heads = ["TGIF-QA", "MSVD-QA", "MSRVTT-QA", "ActivityNet-QA"]
    assert [table[f"{head} accuracy"] for head in heads] == pytest.approx(shares)
    assert [table[f"{head} score"] for head in heads] == pytest.approx(points)
    assert table["average accuracy"] == pytest.approx(sum(shares) / 4)
    assert table["average score"] == pytest.approx(sum(points) / 4)
    published = table_3.published_text().columns
    kinds = [f"{head} {kind}" for head in (*heads, "average") for kind in ("accuracy", "score")]
    assert set(kinds) <= set(published) & set(table.index)
    dense = results.value("score", DENSE_SETTING, "tgif")
    assert results.value("percent", SPARSE, "tgif") == pytest.approx(100 * shares[0] / dense)
    said = table_3.notes(results)
    assert f"judged by lenient at localhost:8000 (official reading, judge {name})" in said
    assert unread and f"{4 * unread} of 640 verdicts cannot be read and are left out" in said
    assert "by rule" not in said
    assert "judged by lenient" in table_3.figure(results).axes[0].get_title()
    (legend,) = figure_10.FIGURE.figure(results).legends
    assert legend.get_title().get_text().endswith("judged by lenient")
    assert figure_10.FIGURE.page(results)[0].text == str(results.judging)


def test_without_a_judgement_the_page_says_so_and_which_command_judges(store, videos):
    results = results_of(store, VIDEOS, videos)
    assert results.frame.equals(study.from_records(VIDEOS, videos, SHAPE).frame)
    said = table_3.notes(results)
    assert "matched by rule, not judged; after `sparsevlm judge endpoint --profile mini" in said
    assert "--only table_3` the judged scores stand here" in said
    limited = replace(VIDEOS, limit=8, model="llava-7b", chosen_model=True)
    said = str(judging_of(limited, videos, "", store))
    assert "--profile mini --answered-by llava-7b --limit 8 --only table_3`" in said


def test_mm_vet_of_table_1_is_judged_and_the_rest_is_not(store, tmp_path):
    records = fabricate(IMAGES, SKILL)
    judge(store, records, folder=tmp_path)
    results, matched = (results_of(store, IMAGES, records, choice) for choice in ("", "match"))
    (record,) = [r for r in records if (r.run.benchmark, r.run.method) == ("mmvet", "dense")]
    found = Lenient(task=TASKS["mmvet"], folder=tmp_path).verdicts(record.predictions)
    expected = 100 * sum(one.score or 0 for one in found) / len(found)  # an unread one counts 0
    assert results.value("score", DENSE_SETTING, "mmvet") == pytest.approx(expected)
    pope = [one.value("score", DENSE_SETTING, "pope") for one in (results, matched)]
    assert pope[0] == pope[1]
    unread = 3 * sum(bool(one.broken) for one in found)
    said = report.notes(results)
    assert "MM-Vet: answers are judged by lenient" in said
    assert unread and f"{unread} of 72 verdicts cannot be read and count 0" in said
    assert "MM-Vet: answers are matched by rule" in report.notes(matched)


def test_runs_that_are_not_judged_are_named_and_no_number_is_mixed(store, videos, tmp_path):
    judge(store, videos[5:], folder=tmp_path)
    results = results_of(store, VIDEOS, videos)
    assert results.frame.equals(study.from_records(VIDEOS, videos, SHAPE).frame)
    said = table_3.notes(results)
    assert "lenient at localhost:8000" in said and "has judged 11 of 16 runs" in said
    assert "not tgif, dense; msvd, dense; msrvtt, dense and 2 more; the same command judges" in said
    with pytest.raises(JudgeError, match="one judge 'lenient' .*found 0 .*11 of 16 runs"):
        results_of(store, VIDEOS, videos, "lenient")


def test_of_several_judges_one_has_to_be_named(store, videos, tmp_path):
    first = judge(store, videos, folder=tmp_path)
    other = judge(store, videos, folder=tmp_path, model="other")
    judge(store, videos, MatchJudge)  # a rule is no judge
    results = results_of(store, VIDEOS, videos)
    assert results.judging.of("tgif") is None  # and no notebook without the parameter fails
    for name, id in (("lenient", first), ("other", other)):
        judged = f"{name} at localhost:8000 (official reading, judge {id}) has judged 16 of 16 runs"
        chosen = f"; the parameter `-p judge {id}` takes its verdicts."
        assert judged + chosen in table_3.notes(results)
    for choice in ("other", other):
        assert results_of(store, VIDEOS, videos, choice).judging.of("tgif").id == other
    assert results_of(store, VIDEOS, videos, "match").judging.of("tgif") is None
    with pytest.raises(JudgeError, match="one judge 'gpt-4' .*found 0"):
        results_of(store, VIDEOS, videos, "gpt-4")


def test_verdicts_read_by_older_rules_do_not_count(store, videos, tmp_path, monkeypatch):
    monkeypatch.setattr("sparsevlm.evaluation.judges.chat.FORMAT", 3)
    judge(store, videos, folder=tmp_path)
    assert results_of(store, VIDEOS, videos).judging.of("tgif") is None


def test_the_papers_judged_numbers_are_compared_with_judged_ones_only(store, videos, tmp_path):
    a100 = replace(VIDEOS, name="a100")
    matched = results_of(store, a100, videos)
    judge(store, videos, folder=tmp_path)
    judged = results_of(store, a100, videos)
    wanted = {
        "tgif-qa-accuracy": ("score", "tgif"), "tgif-qa-judge-score": ("judge score", "tgif"),
        "average-accuracy": ("mean score", ""), "average-judge-score": ("mean judge score", ""),
    }  # fmt: skip
    claims = [BY_ID[f"table-3.sparsevlm.194.{name}"] for name in wanted]
    report = collect(claims, {"table_3": lambda profile: judged})
    said = "**a100**: TGIF-QA, MSVD-QA, MSRVTT-QA, ActivityNet-QA: answers are judged by lenient"
    assert said in claims_page.page(report)
    for entry, (measure, name) in zip(report.entries, wanted.values(), strict=True):
        assert entry.a100.value == judged.value(measure, SPARSE, name) and entry.a100.verdict
        assert entry.mini.value is None and entry.verdict == "not testable here"
    (entry,) = collect(claims[:1], {"table_3": lambda profile: matched}).entries
    assert entry.a100.value is None and "after `sparsevlm judge endpoint" in entry.a100.why
    found = ProfileRecords("a100", {"table_3": lambda profile: matched})
    for function, arguments in (
        (Queries(found).score, (*SPARSE, "tgif", "table_3")),
        (Queries(found).benchmark_lead, ("tgif", "sparsevlm", "random", 194, "table_3")),
    ):
        with pytest.raises(NotJudgedError, match="not judged; after `sparsevlm judge endpoint"):
            function(*arguments)
