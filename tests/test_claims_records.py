"""What records say of claims, and CLAIMS.md."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from fabricated import SHAPE, fabricate, narrowed
from test_claims import BY_ID, no_records, without_records

from sparsevlm.analysis import statistics, study
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import Results
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.runs import missing_runs, plan_runs
from sparsevlm.paper.claims import claim as claims
from sparsevlm.paper.claims import collect as claims_collect
from sparsevlm.paper.claims import file as claims_file
from sparsevlm.paper.claims import page as claims_page
from sparsevlm.paper.claims import records as claims_records
from sparsevlm.paper.claims.claim import Claim, ClaimResult, Entry
from sparsevlm.paper.claims.collect import collect
from sparsevlm.paper.claims.records import MEASURES, NotRunError, ProfileRecords, Queries


@pytest.fixture
def bare():
    return without_records()


def table(lead_at_192: float, profile: str = "mini") -> Results:
    """Table 1 in which SparseVLM is so many points above FastV, give or take one."""
    noise = np.linspace(-1, 1, 200)
    relative = {
        ("sparsevlm", 192): np.concatenate([[90.0], 90 + noise]),
        ("fastv", 192): np.full(201, 90.0 - lead_at_192),
        ("sparsevlm", 64): np.concatenate([[80.0], 80 + noise]),
        ("fastv", 64): np.full(201, 60.0),
    }
    rows = [
        {"measure": "relative accuracy", "benchmark": "", "method": method, "tokens": tokens,
         "value": values[0], "low": np.nan, "high": np.nan}
        for (method, tokens), values in relative.items()
    ]  # fmt: skip
    return Results(get_profile(profile), pd.DataFrame(rows), relative)


def report_with(**measured: float) -> claims.ClaimReport:
    """The report of one lead, with Table 1 of the profiles named."""

    def measure(profile):
        return table(measured[profile]) if profile in measured else no_records(profile)

    return collect([BY_ID["lead.fastv.192"]], {"table_1": measure})


# --- With records ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lead", "says"),
    [(11.2, claims.HOLDS), (-3.0, claims.HOLDS_NOT), (0.2, claims.MINI_CANNOT_TELL)],
)
def test_a_miniature_says_only_whether_the_direction_holds(lead, says):
    (entry,) = report_with(mini=lead).entries
    assert entry.mini.verdict == says and entry.verdict == claims.NOT_RUN
    assert entry.mini.value.value == pytest.approx(lead)


@pytest.mark.parametrize(
    ("lead", "verdict"),
    [(11.2, claims.REPRODUCED), (10.5, claims.WITHIN), (9.0, claims.DEVIATES)],
)
def test_the_real_model_gives_the_verdict(lead, verdict):
    (entry,) = report_with(a100=lead).entries
    assert entry.verdict == entry.a100.verdict == verdict
    assert entry.mini.verdict == claims.NOT_RUN and entry.mini.value is None


def test_what_the_miniature_says_is_counted_apart():
    report = report_with(mini=5.0)
    assert report.counts == {claims.NOT_RUN: 1} and report.on_miniature == {claims.HOLDS: 1}


def test_a_judge_that_is_gone_outweighs_a_score_by_another():
    claim = Claim("a", "table_1", "p", "s", "30.9", 1.0, untestable="GPT-4 judges")
    assert Entry(claim, a100=ClaimResult(30.9, claims.REPRODUCED)).verdict == claims.NOT_TESTABLE


def test_a_method_that_a_profile_does_not_run_is_not_run():
    found = ProfileRecords("mini", {"table_1": lambda profile: table(5)})
    with pytest.raises(NotRunError, match="'mini' does not run tome at 192 tokens"):
        Queries(found).lead("sparsevlm", "tome", 192)
    grown = BY_ID["lead.fastv.growth"].records
    grown = claims_collect.evaluate(grown, {"lead": Queries(found).lead})
    assert grown.value == pytest.approx(15) and grown.excludes_zero
    assert Queries(found).accuracy("fastv", 64) == 60


def test_scores_and_leads_on_one_benchmark_come_from_the_answers():
    profile = narrowed(
        "table_1", 40, benchmarks=("pope",), methods=("sparsevlm", "random"), budgets=(64,)
    )
    settings = study.settings_of(profile)
    skill = {"dense": 0.9, "sparsevlm": 0.7, "random": 0.3}
    results = study.from_records(profile, fabricate(profile, skill), SHAPE)
    found = ProfileRecords("mini", {"table_1": lambda name: results})
    lead = statistics.estimate(Queries(found).benchmark_lead("pope", "sparsevlm", "random", 64))
    scores = [Queries(found).score(*one, "pope") for one in settings]
    assert lead.value == pytest.approx(scores[1] - scores[2]) and lead.low > 0
    percent = Queries(found).percent_of_dense("sparsevlm", 64, "pope")
    assert percent == pytest.approx(100 * scores[1] / scores[0])
    assert Queries(found).accuracy("sparsevlm", 64) == pytest.approx(percent)


def test_the_data_of_a_figure_is_its_record(tmp_path, monkeypatch):
    monkeypatch.setattr(claims_records, "FIGURES", tmp_path)
    found = ProfileRecords("mini", MEASURES)
    with pytest.raises(NotRunError, match="figure_1.data.csv is not there"):
        Queries(found).focus_lead("sparsevlm", "tome")
    rows = "method,mean,low,high\nsparsevlm,16,13,19\ntome,2,1,3\n"
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "figure_1.data.csv").write_text(rows)
    (tmp_path / "mini" / "figure_7.data.csv").write_text(
        '"holders, image","holders, words"\n' + "0.3,0.5\n0.4,0.6\n" * 5
    )
    found = ProfileRecords("mini", MEASURES)
    assert Queries(found).focus_lead("sparsevlm", "tome") == Estimate(14, 10, 18)
    gap = statistics.estimate(Queries(found).redundancy_gap())
    assert gap.value == pytest.approx(20) and gap.low == pytest.approx(20)
    (tmp_path / "mini-8").mkdir()
    (tmp_path / "mini-8" / "figure_1.data.csv").write_text(rows)
    other = ProfileRecords("mini-8", MEASURES)
    assert Queries(other).focus_lead("tome", "tome") == Estimate(0, -2, 2)


# --- The page ----------------------------------------------------------------------------------


def test_the_page_has_every_claim_once_and_is_the_same_again(bare):
    page = claims_page.page(bare)
    named = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert sorted(named) == sorted(BY_ID) and page == claims_page.page(bare)
    widths = {line.count(" | ") for line in page.splitlines() if line.startswith("| `")}
    assert len(widths) == 2, "sentences have a column more than runs"
    assert "sparsevlm reproduce --only table_1`" in page
    assert "no results of a100" in page


def test_links_of_the_overview_lead_to_sections(bare):
    page = claims_page.page(bare)
    anchors = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^## (.+)$", page, re.MULTILINE)
    }
    links = re.findall(r"\]\(#([^)]+)\)", page)
    assert len(links) == 13 and set(links) <= anchors


def test_one_claim_for_the_terminal(bare):
    (entry,) = [e for e in bare.entries if e.claim.id == "latency.128"]
    text = claims_page.one(entry)
    assert "own numbers 42.44, slip of the paper" in text and "43.1 ± 0.1 %" in text
    assert "again         sparsevlm reproduce --only table_1" in text
    (entry,) = report_with(mini=5.0).entries
    assert "holds on the miniature: +5.0 [+4." in claims_page.one(entry)


def test_the_file_is_written_when_something_changed(bare, tmp_path, monkeypatch):
    monkeypatch.setattr(claims_file, "RESULTS", tmp_path / "results")
    page, stamp = tmp_path / "CLAIMS.md", tmp_path / "stamp.json"
    inputs = claims_file.inputs_id()
    assert not claims_file.is_current(page, stamp)
    claims_file.write(bare, inputs, page, stamp)
    assert page.read_text() == claims_page.page(bare, "../")
    assert claims_file.is_current(page, stamp)
    page.write_text("edited by hand")
    assert not claims_file.is_current(page, stamp)
    claims_file.write(bare, inputs, page, stamp)
    (tmp_path / "results" / "runs").mkdir(parents=True)
    (tmp_path / "results" / "runs" / "new.json").write_text("{}")
    assert not claims_file.is_current(page, stamp), "a record that came since"
    claims_file.write(bare, claims_file.inputs_id(), page, stamp)
    monkeypatch.setattr(claims_file, "known_notebooks", lambda: ["another"])
    assert not claims_file.is_current(page, stamp)
    stamp.write_text("{")
    assert not claims_file.is_current(page, stamp)


def test_check_compares_and_says_what_is_missing(bare, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(claims_collect, "collect", lambda: bare)
    page = tmp_path / "CLAIMS.md"
    assert not claims_file.check(page)
    assert "(without records of mini, a100); a maintainer runs" in capsys.readouterr().out
    page.write_text(claims_page.page(bare))
    assert claims_file.check(page)


def test_the_committed_page_names_the_declared_claims():
    named = re.findall(r"^\| `([^`]+)` \|", claims_file.PUBLISHED.read_text(), re.MULTILINE)
    assert sorted(named) == sorted(BY_ID), "run `sparsevlm publish`"


def test_the_committed_page_is_what_the_records_give():
    missing = missing_runs(plan_runs(get_profile("mini").for_study("table_1")), Store())
    if missing:
        pytest.skip(f"{len(missing)} results of the miniature are not at hand")
    if not (claims_records.FIGURES / "mini" / "figure_1.data.csv").exists():
        pytest.skip("the figures of the miniature have not been drawn")
    assert claims_file.check()


def test_a_part_of_a_benchmark_gives_no_verdict(monkeypatch, tmp_path):
    monkeypatch.setenv("SPARSEVLM_DATA", str(tmp_path))
    (tmp_path / "seed_bench").mkdir()
    part = '{"rows": 9, "note": "questions about images only"}'
    (tmp_path / "seed_bench" / "part.json").write_text(part)

    def measure(profile):
        return table(11.2, profile) if profile == "a100" else no_records(profile)

    (entry,) = collect([BY_ID["lead.fastv.192"]], {"table_1": measure}).entries
    assert entry.a100.value.value == pytest.approx(11.2)
    assert entry.verdict == claims.IN_PART
    assert entry.reason == "SEED-Bench: questions about images only"
    found = ProfileRecords("a100", {"table_1": measure})
    Queries(found)._table("table_1", benchmark="pope")
    assert found.note == ""


def test_tables_2_and_figure_4_have_records():
    skill = {"dense": 1.0, ("sparsevlm", 64): 0.6, ("sparsevlm", 256): 1.0, "fastv": 0.5}
    profile = narrowed("figure_4", methods=("sparsevlm", "fastv"), budgets=(256, 64))
    made = fabricate(profile, skill, visual=lambda number: 570 + number % 2)
    results = study.from_records(profile, made, SHAPE)
    found = ProfileRecords("mini", {"figure_4": lambda profile: results})

    def mean(tokens):
        return Queries(found).average_score("sparsevlm", tokens, "figure_4")

    lead = Queries(found).benchmark_lead("", "sparsevlm", "fastv", 256, "figure_4")
    lead = statistics.estimate(lead)
    fastv = Queries(found).average_score("fastv", 256, "figure_4")
    assert lead.value == pytest.approx(mean(256) - fastv) and lead.low > 0
    above = Queries(found).budgets_above("sparsevlm", "fastv", "pope", "figure_4")
    assert above == 2
    assert Queries(found).budgets_above("fastv", "fastv", "pope", "figure_4") == 0
    assert Queries(found).visual_tokens("pope", "figure_4") == 570.5
