"""The claims: every number of the paper is a claim, and no claim says more than what backs it."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest

from sparsevlm.analysis import published
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.studies import studies
from sparsevlm.methods import METHODS
from sparsevlm.paper.claims import claim as claims
from sparsevlm.paper.claims import declared as claims_declared
from sparsevlm.paper.claims import paper as claims_paper
from sparsevlm.paper.claims.claim import judge, judge_miniature
from sparsevlm.paper.claims.collect import collect, evaluate, public_functions
from sparsevlm.paper.claims.records import MEASURES

DECLARED = claims_declared.load()
BY_ID = {claim.id: claim for claim in DECLARED}


def no_records(profile):
    raise FileNotFoundError(f"no results of {profile}")


@cache
def without_records() -> claims.ClaimReport:
    """The report where no record is at hand."""
    return collect(DECLARED, dict.fromkeys(MEASURES, no_records))


@pytest.fixture
def bare():
    return without_records()


# --- The list ----------------------------------------------------------------------------------


def test_every_published_number_is_a_claim():
    numbers = [c for c in DECLARED if c.expected != claims.POSITIVE]
    expected = [(c.notebook, float(c.expected)) for c in numbers]
    rules = claims_declared.rules()
    for item, version in rules:
        notebook = rules[item, version][-1]["notebook"]
        rows = published.rows(item, version=version)
        found = [value for name, value in expected if name == notebook]
        missing = [row for row in rows if row.value not in found]
        assert not missing
    items = {(row.item, row.paper_version) for row in published._all_rows()}
    assert items - {("section5.3", "v4")} == set(rules)
    assert BY_ID["kv.dense"].expected == "302.4" and BY_ID["kv.192"].expected == "100.8"


def test_every_cell_of_a_table_is_one_claim():
    cells = [c for c in DECLARED if c.is_cell]
    flops = [c for c in DECLARED if c.id.startswith("flops.") and not c.paper]
    printed = len(published._all_rows()) - 2  # the two sizes of the KV cache are sentences
    assert len(flops) == 13
    assert len(cells) - 12 * 8 == printed - len(flops), "12 rows of 8 percentages come on top"


def test_every_claim_says_where_what_and_what_would_falsify_it():
    for claim in DECLARED:
        assert claim.place and claim.statement and claim.falsified_by, claim.id
        assert claim.expected == claims.POSITIVE or np.isfinite(float(claim.expected)), claim.id
        backed = claim.paper or claim.analytic or claim.records or claim.needs or claim.untestable
        assert backed, f"{claim.id}: nothing says how it is obtained, or why not"
        assert not (claim.records and claim.needs), claim.id
        needs_a_tolerance = claim.analytic or claim.records
        assert (
            claim.expected == claims.POSITIVE or claim.tolerance or claim.unit in claims.COUNTS
        ) or not needs_a_tolerance


def test_an_id_comes_once(monkeypatch, tmp_path):
    text = claims_declared.CLAIMS.read_text()
    doubled = tmp_path / "claims.csv"
    doubled.write_text(text + text.splitlines()[1] + "\n")
    monkeypatch.setattr(claims_declared, "CLAIMS", doubled)
    with pytest.raises(ValueError, match="two claims have the id lead.fastv.192"):
        claims_declared.load()
    doubled.write_text(text.replace("falsified_by", "falsifier", 1))
    with pytest.raises(ValueError, match="columns missing or unknown: .*falsifie"):
        claims_declared.load()


def test_records_are_asked_for_by_known_names():
    for claim in DECLARED:
        judged = {"score", "judge score"} if "judged(" in claim.records else set()
        for word in re.findall(r'"([^",]+)"', claim.records):
            assert word in {*METHODS, *BENCHMARKS, *studies(), *judged}, (claim.id, word)


# --- Without records ---------------------------------------------------------------------------


def test_without_a_record_only_a_formula_can_reproduce(bare):
    agrees = (claims.REPRODUCED, claims.WITHIN)
    for entry in bare.entries:
        assert entry.mini.value is None and entry.a100.value is None
        if entry.verdict in agrees:
            assert entry.claim.analytic, entry.claim.id
    assert set(bare.missing) == {"mini", "a100"}


def test_the_flops_of_table_1_follow_from_the_schedules(bare):
    flops = [e for e in bare.entries if e.claim.id.startswith("flops.") and not e.claim.paper]
    assert len(flops) == 13
    for entry in flops:
        assert entry.verdict in (claims.REPRODUCED, claims.WITHIN)
        assert entry.analytic.value == pytest.approx(float(entry.claim.expected), abs=0.03)


def test_formulas_for_tokens_and_cache(bare):
    found = {entry.claim.id: entry for entry in bare.entries}
    assert [found[f"tokens.{t}"].analytic.value for t in (192, 128, 64)] == pytest.approx(
        [192.03, 128.63, 64.81], abs=0.005
    )
    assert [found[f"tokens.entering.{t}"].verdict for t in (192, 128, 64)] == ["deviates"] * 3
    assert found["kv.dense"].analytic.value == pytest.approx(301.99, abs=0.005)
    assert found["flash.trick"].analytic.value == 0 and found["flash.trick"].verdict == "deviates"


def test_slips_of_the_paper(bare):
    slips = {e.claim.id for e in bare.entries if e.paper.verdict == claims.SLIP}
    sentences = {name for name in slips if not BY_ID[name].is_cell}
    assert sentences == {
        "latency.128", "abstract.rows", "slip.pdrop.128.mmb", "slip.tome.192.mmb",
        "slip.tome.128.textvqa", "video.delta.fastv.tgif", "video.delta.fastv.activitynet",
        "tr.gain.pope", "tr.gain.pope.64", "tr.gain.pope.192", "redundancy.entropy",
        "v1.slip.sqa", "v1.video.delta.sparsevlm",
    }  # fmt: skip
    assert "table-1.pdrop.128.mmb-percent" in slips, "the printed 95.4 % goes with 61.6"
    paper = {e.claim.id: e.paper.value for e in bare.entries}
    assert paper["latency.128"] == pytest.approx(42.44, abs=0.005)
    assert paper["mgm.lead.256"] == pytest.approx(9.3) and paper["mgm.lead.64"] == 20.5


# --- Judging -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "value", "tolerance", "verdict"),
    [
        ("62.8", 62.77, 0.5, "reproduced"),
        ("62.8", 62.849, 0.0, "reproduced"),
        ("62.8", 62.6, 0.5, "within tolerance"),
        ("62.8", 62.2, 0.5, "deviates"),
        ("97", 96.6, None, "reproduced"),
        ("2.14", 2.11, 0.03, "within tolerance"),
        ("-0.34", -0.25, 0.01, "deviates"),
        ("11.2", Estimate(11.2, 9, 13), 1, "reproduced"),
        ("> 0", Estimate(2, 1, 3), None, "reproduced"),
        ("> 0", Estimate(-2, -3, -1), None, "deviates"),
        ("> 0", Estimate(1, -1, 3), None, "cannot tell"),
    ],
)
def test_judge(expected, value, tolerance, verdict):
    assert judge(expected, value, tolerance) == verdict


def test_an_ordering_needs_an_interval():
    with pytest.raises(TypeError, match="needs an estimate"):
        judge("> 0", 3.0, None)
    assert judge_miniature(92.7) == ""


@pytest.mark.parametrize(
    "call",
    ["fmean([1])", "_listed('GQA')", "value(1 + x)", "value", "no_such()", "1", "value(",
     "published.rows('table1')", "(lambda: 1)()", "lead(*[1])", "[lead for lead in []][0]",
     "lead.f()"],
)  # fmt: skip
def test_a_claim_can_only_call_public_functions_with_literals_and_compute(call):
    known = public_functions(claims_paper)
    with pytest.raises(ValueError, match="a claim (names|asks)"):
        evaluate(call, known)
    assert evaluate('100 * (1 - value("table1", "Dense", 576, "GQA") / 123.8)', known) == 50
