"""Table 1 from records: the numbers, the comparison with the paper, what is written and drawn."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from sparsevlm.analysis import published
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.benchmarks import get_benchmark
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.run import EvaluationRun, Record
from sparsevlm.miniature.questions import benchmark_samples
from sparsevlm.models.sizes import ModelSizes
from sparsevlm.paper.tables import table_1_views
from sparsevlm.paper.tables.table_1 import from_records, published_row, settings_of
from sparsevlm.paper.tables.table_1_compare import Ordering, agreement, controls, orderings

PROFILE = replace(get_profile("mini"), samples_per_benchmark=40)
SHAPE = ModelSizes(layers=8, hidden=128, intermediate=352, heads=4)
# ToMe is made the best and PDrop like FastV, so that the paper's ranking partly fails.
SKILL = {"dense": 0.9, "tome": 0.85, "sparsevlm": 0.7, "fastv": 0.45, "pdrop": 0.45}
SKILL |= {"random": 0.3, "uniform": 0.69, "sparsevlm-all-text": 0.72}


samples_of = cache(benchmark_samples)  # drawing the scenes takes a while


def _record(benchmark, method, tokens):
    """A record in which a method knows an answer if the question is easier than its skill."""
    rows = []
    for sample in samples_of(benchmark, 40, 0):
        ease = np.random.default_rng([len(benchmark), *sample.group.encode()]).random()
        wrong = {"yes": "no", "no": "yes"}.get(sample.answer, "wrong")
        rows.append(
            {
                **sample.to_json(),
                "prediction": sample.answer if ease < SKILL[method] else wrong,
                "tokens_in": [576] + [tokens or 576] * 7,
                "tokens_out": [tokens or 576] * 8,
                "text_tokens": 14,
            }
        )
    run = EvaluationRun(
        model="mini-llava", revision="r", benchmark=benchmark, samples="v", num_samples=len(rows),
        seed=0, method=method, tokens=tokens, pruner=f'{{"name":"{method}"}}', dtype="float32",
        attention="sdpa", batch=16,
    )  # fmt: skip
    return Record(
        run, tuple(rows), get_benchmark(benchmark).score(rows), ({"commit": "c0ffee"},), 1.0
    )


@pytest.fixture(scope="module")
def records():
    return [_record(b, *setting) for setting in settings_of(PROFILE) for b in PROFILE.benchmarks]


@pytest.fixture(scope="module")
def results(records):
    return from_records(PROFILE, records, SHAPE)


def test_rows_are_dense_then_every_method_by_budget(results):
    assert [(r.method, r.tokens) for r in results.rows][:3] == [
        ("dense", None), ("sparsevlm", 192), ("sparsevlm-all-text", 192),
    ]  # fmt: skip
    assert len(results.rows) == 1 + 7 * 3


def test_scores_are_those_of_the_benchmarks(results, records):
    for record in records:
        row = next(
            r
            for r in results.rows
            if (r.method, r.tokens) == (record.run.method, record.run.tokens)
        )
        assert row.scores[record.run.benchmark] == pytest.approx(record.scores["score"])


def test_relative_accuracy_is_the_mean_of_percentages_of_dense(results):
    dense = results.rows[0]
    assert dense.relative == Estimate(100, 100, 100)
    for row in results.rows:
        expected = np.mean([100 * row.scores[b] / dense.scores[b] for b in row.scores])
        assert row.relative.value == pytest.approx(expected)
        assert row.relative.low <= row.relative.value <= row.relative.high


def test_the_lead_of_sparsevlm_is_paired_and_at_the_same_budget(results):
    rows = {(r.method, r.tokens): r for r in results.rows}
    assert rows["dense", None].ahead is None and rows["sparsevlm", 64].ahead is None
    assert rows["random", 64].ahead.low > 0
    assert rows["tome", 64].ahead.high < 0
    ours, other = rows["sparsevlm", 64].relative, rows["random", 64].relative
    assert rows["random", 64].ahead.value == pytest.approx(ours.value - other.value)
    # Nearly the same answers: paired, hardly any doubt is left; unpaired, each side's own would be.
    alike = rows["uniform", 64].ahead
    assert alike.high - alike.low < 0.4 * (ours.high - ours.low)


def test_flops_come_from_the_tokens_that_enter_each_layer(results):
    rows = {(r.method, r.tokens): r for r in results.rows}
    sparse = rows["sparsevlm", 64]
    n = np.array([576 + 14] + [64 + 14] * 7)
    expected = (4 * n * 128**2 + 2 * n**2 * 128 + 3 * n * 128 * 352).sum()
    assert sparse.flops == pytest.approx(expected)
    assert sparse.tokens_in == pytest.approx((576 + 7 * 64) / 8)
    assert sparse.tokens_out == 64


def test_a_missing_record_or_other_samples_are_refused(records):
    with pytest.raises(ValueError, match="1 records are missing, among them"):
        from_records(PROFILE, records[1:], SHAPE)
    fewer = replace(records[-1], predictions=records[-1].predictions[:-1])
    with pytest.raises(ValueError, match="needs the same samples"):
        from_records(PROFILE, [*records[:-1], fewer], SHAPE)


# Against the paper


def test_the_papers_rows_are_those_of_the_file():
    assert published_row("sparsevlm", 64)["POPE"] == published.value(
        "table1", "SparseVLM", 64, "POPE"
    )
    assert published_row("dense", None)["GQA"] == published.value("table1", "Dense", 576, "GQA")
    assert published_row("random", 64) == {}


def test_every_pair_that_the_paper_ranks_is_compared_once(results):
    found = orderings(results)
    assert len(found) == 3 * 6
    assert {o.tokens for o in found} == {192, 128, 64}
    assert all(o.published[0] > o.published[1] for o in found)
    assert not {"Random", "Uniform grid", "Dense"} & {
        name for o in found for name in (o.better, o.worse)
    }


def test_orderings_are_reproduced_contradicted_or_undecided(results):
    verdicts = {(o.tokens, o.better, o.worse): o.verdict for o in orderings(results)}
    assert verdicts[64, "SparseVLM", "FastV"] == "reproduced"
    assert verdicts[64, "SparseVLM", "ToMe"] == "contradicted"
    assert verdicts[64, "PDrop", "FastV"] == "cannot tell"
    counts = [
        list(verdicts.values()).count(v) for v in ("reproduced", "contradicted", "cannot tell")
    ]
    assert agreement(results) == (
        f"Of the paper's 18 pairwise orderings the measurement reproduces {counts[0]}, "
        f"contradicts {counts[1]}, and cannot tell {counts[2]}."
    )


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        (
            Estimate(5.24, 3.1, 7.4),
            "the measurement agrees: +5.2 points, 95 % interval +3.1 to +7.4.",
        ),
        (Estimate(-5, -7, -3), "the measurement contradicts it: -5.0 points"),
        (Estimate(1, -1, 3), "the measurement cannot tell: +1.0 points"),
        (Estimate(0, 0, 0), "the measurement cannot tell"),
        (
            Estimate(float("nan"), float("nan"), float("nan")),
            "cannot tell: no relative accuracy, for the dense model scores 0 on a benchmark.",
        ),
    ],
)
def test_an_ordering_is_a_plain_sentence(estimate, words):
    sentence = Ordering(192, "SparseVLM", "FastV", (99.1, 87.9), estimate).sentence
    assert sentence.startswith(
        "At 192 tokens the paper puts SparseVLM (99.1 %) above FastV (87.9 %); "
    )
    assert words in sentence


def test_controls_compare_accuracy_and_single_answers(results):
    found = {(c.tokens, c.control): c for c in controls(results)}
    assert len(found) == 9
    random = found[64, "Random"]
    assert random.measured.low > 0
    # Harder questions are answered only by the more skilled, so no answer is lost.
    assert random.answers.only_first > 50 and random.answers.only_second == 0
    assert "Random only (McNemar p = " in random.sentence
    assert ", which may be chance." in found[64, "Uniform grid"].sentence
    assert ", which may be chance." not in random.sentence


def test_partial_credit_is_left_out_of_the_count_of_single_answers(records, results):
    def first_fact_only(record):
        if (record.run.benchmark, record.run.method) != ("mmvet", "sparsevlm"):
            return record
        rows = tuple({**row, "prediction": row["answers"][0]} for row in record.predictions)
        return replace(record, predictions=rows)

    partial = controls(from_records(PROFILE, map(first_fact_only, records), SHAPE))
    for before, after in zip(controls(results), partial, strict=True):
        assert after.answers.only_first <= before.answers.only_first
    assert sum(c.answers.only_first for c in partial) < sum(
        c.answers.only_first for c in controls(results)
    )


# Views


def test_the_tables_have_the_papers_columns_in_its_order(results):
    eight = ["GQA", "MMB", "MME", "POPE", "SQA", "SEED", "TextVQA", "MMVet"]
    ours, paper = table_1_views.frame(results), table_1_views.published_frame(results)
    assert list(ours.columns[:8]) == list(paper.columns[:8]) == eight
    assert list(ours.index) == list(paper.index)
    assert ours.index[0] == ("all", "Dense") and ("64", "Uniform grid") in ours.index
    assert paper.loc[("64", "SparseVLM"), "POPE"] == 77.5
    assert paper.loc[("64", "Random")].isna().all()
    assert ours.loc[("all", "Dense"), "FLOPs (%)"] == 100


def test_markdown_marks_the_miniature_and_shows_both_tables(results):
    page = table_1_views.report(results)
    lines = page.splitlines()
    assert lines[0] == (
        "## mini-llava (miniature model, not LLaVA-1.5), 38–40 questions per benchmark"
    )
    assert sum(line.startswith("| 64 | SparseVLM |") for line in lines) == 2
    widths = {line.count("|") for line in lines if line.startswith("|")}
    assert len(widths) == 2
    assert "| 192 | Random | – | –" in page
    assert "MME is in points, at most 1000 here and 2800 in the paper." in page
    assert "Measured at commit c0ffee." in page
    assert sum(line.startswith("- At 64 tokens") for line in lines) == 6 + 3


def test_a_model_that_cannot_answer_at_all_gives_dashes_not_numbers(records):
    def mute(record):
        rows = tuple({**row, "prediction": "?"} for row in record.predictions)
        return replace(record, predictions=rows) if record.run.benchmark == "gqa" else record

    page = table_1_views.report(from_records(PROFILE, map(mute, records), SHAPE))
    assert "nan" not in page
    assert "reproduces 0, contradicts 0, and cannot tell 18." in page


def test_the_files_are_written_whole_and_read_back(results, tmp_path):
    files = {p.name: p for p in table_1_views.save(results, tmp_path)}
    assert set(files) == {"table_1.md", "table_1.csv", "table_1.html"}
    back = pd.read_csv(files["table_1.csv"])
    assert len(back) == 1 + 7 * 3 and "miniature" in back["model"][0]
    ours = table_1_views.frame(results)["Acc. (%)"].to_numpy()
    np.testing.assert_allclose(back["Acc. (%)"], ours)
    page = files["table_1.html"].read_text()
    shown = pd.read_html(io.StringIO(page)) if _has_lxml() else None
    assert shown is None or len(shown) == 2
    assert page.count("<table") == 2 and "not LLaVA-1.5" in page and "as published" in page
    before = [p.read_bytes() for p in files.values()]
    table_1_views.save(results, tmp_path)
    assert [p.read_bytes() for p in files.values()] == before, "the same results, the same files"


def _has_lxml():
    try:
        import lxml  # noqa: F401
    except ImportError:
        return False
    return True


def test_the_figure_says_which_panel_is_measured_and_which_published(results):
    fig = table_1_views.figure(results)
    here, paper = fig.axes
    assert here.get_title() == "measured: mini-llava\nminiature model, not LLaVA-1.5"
    assert paper.get_title() == "published: LLaVA-1.5-7B\nTable 1 of the paper"
    drawn = {line.get_label(): line for line in paper.lines}
    assert set(drawn) == {"SparseVLM", "FastV", "PDrop", "ToMe", "Dense"}
    np.testing.assert_allclose(drawn["SparseVLM"].get_ydata(), [89.3, 96.7, 99.1])
    measured = [r.relative.value for r in results.rows if r.method == "random"]
    random = next(c for c in here.containers if c.get_label() == "Random")
    np.testing.assert_allclose(random.lines[0].get_ydata().astype(float), measured[::-1])
    assert here.get_ylim() == paper.get_ylim()
