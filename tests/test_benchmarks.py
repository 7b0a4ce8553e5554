"""The scorers of the eight benchmarks, on the traps that make reimplementations differ."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from benchmark_rows import row, score
from synthetic import WRITERS
from synthetic_videoqa import VIDEOS

from sparsevlm.benchmarks import BENCHMARKS, Sample, get_benchmark, mmbench, mme, pope, scienceqa
from sparsevlm.benchmarks.counting import groups_of, total_of
from sparsevlm.benchmarks.loaders import layout_of
from sparsevlm.evaluation.paths import ROOT


def test_names_are_those_of_the_papers_columns():
    columns = {b.paper_column: b.media for b in BENCHMARKS.values()}
    images = ["GQA", "MMB", "MME", "POPE", "SQA", "SEED", "TextVQA", "MMVet"]
    videos = ["TGIF-QA", "MSVD-QA", "MSRVTT-QA", "ActivityNet-QA"]
    assert list(columns) == images + videos
    assert list(columns.values()) == ["image"] * 8 + ["video"] * 4


def test_the_longest_answers_are_those_of_the_official_scripts():
    long = {name for name, benchmark in BENCHMARKS.items() if benchmark.max_new_tokens == 1024}
    assert long == {"mmbench", "scienceqa", "mmvet", "tgif", "msvd", "msrvtt", "activitynet"}
    assert {BENCHMARKS[name].max_new_tokens for name in BENCHMARKS.keys() - long} == {128}


def test_an_unknown_benchmark_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown benchmark 'vqa'; known: gqa, .*mmvet"):
        get_benchmark("vqa")


def test_no_place_of_a_benchmark_is_forgotten():
    """A benchmark is a scorer with its line in the registry, and a loader found by its name."""
    package = ROOT / "sparsevlm" / "benchmarks"
    known = {benchmark.score_sample for benchmark in BENCHMARKS.values()}
    for path in package.glob("*.py"):
        scorer = import_module(f"sparsevlm.benchmarks.{path.stem}")
        if hasattr(scorer, "parse"):
            assert scorer.score_sample in known, f"add a line for {path} to registry.BENCHMARKS"
    for name, benchmark in BENCHMARKS.items():
        scorer = "videoqa" if benchmark.media == "video" else name
        assert f"sparsevlm.benchmarks.{scorer}" in benchmark.modules  # a change makes results due
        there = (package / "loaders" / f"{scorer}.py").is_file()
        assert there, f"write loaders/{scorer}.py with read"
        assert layout_of(name).files, f"the layout of {name} must name its files"
        assert name in WRITERS or name in VIDEOS, f"add a writer of {name} to tests/synthetic.py"
        if name not in VIDEOS:
            frozen = ROOT / "tests" / "loaders" / "prompts" / f"{name}.txt"
            assert frozen.is_file(), f"freeze the official prompts of {name} in {frozen}"


def test_scoring_needs_no_torch():
    code = "import sys, sparsevlm.benchmarks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_sample_goes_through_json_and_an_incomplete_row_is_refused():
    sample = Sample("1", 2, "q", "A", split="s", options=("x", "y"))
    assert Sample.from_json({**sample.to_json(), "prediction": "A"}) == sample
    assert sample.group == "1"
    with pytest.raises(ValueError, match="question missing"):
        Sample.from_json({k: v for k, v in sample.to_json().items() if k != "question"})
    with pytest.raises(ValueError, match="Sample.answer must be a non-empty string"):
        Sample("1", 2, "q", " ")
    for fields in ({"split": None}, {"group": 3}, {"options": "AB"}, {"answers": ("a", None)}):
        with pytest.raises(ValueError, match=f"Sample.{next(iter(fields))} must be "):
            Sample("1", 2, "q", "A", **fields)


def test_a_row_counts_once_and_a_group_has_one_split():
    with pytest.raises(ValueError, match="'1' is there twice"):
        groups_of([row("a", "a"), row("a", "a")])
    with pytest.raises(ValueError, match="must share one split"):
        groups_of([row("a", "a", "1", group="g"), row("a", "a", "2", group="g", split="x")])
    with pytest.raises(ValueError, match="at least one row"):
        groups_of([])


# GQA


@pytest.mark.parametrize(
    ("prediction", "right"),
    [("yes", 1), ("Yes.", 1), (" YES ", 1), ("yes..", 1), ("yes!", 0), ("a dog", 0), ("", 0)],
)
def test_gqa_lowers_the_case_and_drops_closing_periods_only(prediction, right):
    answer = "dog" if "dog" in prediction else "yes"
    assert score("gqa", [row(prediction, answer)])["score"] == 100 * right


def test_parts_are_accuracies_by_split():
    rows = [row("x", "x", "1", split="a"), row("x", "y", "2", split="a"), row("x", "x", "3")]
    assert score("gqa", rows) == {"score": pytest.approx(200 / 3), "parts": {"a": 50.0}}


# POPE, MME and ScienceQA

READ = {
    # "no" among the words of the first sentence.
    pope: {"yes": "yes", "Yes.": "yes", "No": "no", "no.": "no", "No, there is none": "no",
           "It is not there": "no", "Yes. There is no dog": "yes", "nothing": "yes", "NO": "yes",
           "": "yes", "cannot say": "yes"},
    # The first four characters.
    mme: {"Yes": "yes", "yes.": "yes", "No, it is not": "no", " no": "no", "not": "no",
          "the answer is yes": "other", "maybe": "other", "": "other"},
    # The three official forms.
    scienceqa: {"B": "B", " B ": "", "B\n": "", "B. because": "B", "B\nbecause": "",
                "I think. The answer is B.": "B", "The answer is B": "", "The answer is Big": "B",
                "The answer is A. The answer is B.": "", "The answer is A\nThe answer is B.": "B",
                "The answer is A\rThe answer is B": "A", "The answer is Q. The answer is B.": "",
                "B.": "", "b": "", "E": "", "E. more": "", "A dog": "", "The answer is E.": "",
                "AB": "", "": ""},
}  # fmt: skip


@pytest.mark.parametrize("scorer", READ, ids=lambda scorer: scorer.__name__)
def test_an_answer_is_read_as_the_official_script_reads_it(scorer):
    sample = Sample("1", 0, "q", "B", options=("x", "y", "z"))
    assert {said: scorer.parse(said, sample) for said in READ[scorer]} == READ[scorer]


def _pope(split, tp, fp, tn, fn):
    kinds = (
        [("yes", "yes")] * tp + [("yes", "no")] * fp + [("no", "no")] * tn + [("no", "yes")] * fn
    )
    return [row(p, a, f"{split}{i}", split=split) for i, (p, a) in enumerate(kinds)]


def test_pope_is_the_mean_of_three_f1_not_the_f1_of_all():
    rows = (
        _pope("random", 9, 1, 9, 1)
        + _pope("popular", 5, 5, 5, 5)
        + _pope("adversarial", 1, 0, 3, 0)
    )
    result = score("pope", rows)
    assert result["score"] == pytest.approx((90 + 50 + 100) / 3)
    assert result["parts"]["random"] == pytest.approx(
        {"f1": 90, "accuracy": 90, "precision": 90, "recall": 90, "yes_ratio": 50}
    )
    assert result["parts"]["adversarial"]["yes_ratio"] == 25
    tp, wrong = 9 + 5 + 1, 2 + 10
    assert result["score"] != pytest.approx(100 * 2 * tp / (2 * tp + wrong))


def test_pope_is_zero_where_nothing_is_found():
    assert score("pope", _pope("random", 0, 0, 4, 4))["score"] == 0


def test_pope_refuses_unknown_splits_and_answers():
    with pytest.raises(ValueError, match="unknown POPE split 'easy'; known: random, popular"):
        score("pope", [row("yes", "yes", split="easy")])
    with pytest.raises(ValueError, match="answers are yes or no"):
        score("pope", [row("yes", "maybe", split="random")])


def _mme_pair(image, subtask, first, second):
    pair = {"group": image, "split": subtask}
    return [
        row("yes" if first else "no", "yes", f"{image}.0", **pair),
        row("no" if second else "yes", "no", f"{image}.1", **pair),
    ]


def test_mme_adds_accuracy_and_accuracy_plus_of_every_subtask():
    rows = (
        _mme_pair("i1", "existence", True, True)
        + _mme_pair("i2", "existence", True, False)
        + _mme_pair("i3", "code_reasoning", True, True)
    )
    result = score("mme", rows)
    assert result["parts"] == {"code_reasoning": 200.0, "existence": 75.0 + 50.0}
    assert (result["perception"], result["cognition"]) == (125.0, 200.0)
    assert (result["score"], result["best"]) == (325.0, 400.0)


def test_mme_pairs_belong_to_an_image_whatever_the_order_of_the_rows():
    rows = _mme_pair("i1", "count", True, True) + _mme_pair("i2", "count", False, False)
    mixed = [rows[0], rows[2], rows[3], rows[1]]
    assert score("mme", mixed) == score("mme", rows)
    assert score("mme", rows)["score"] == 50 + 50


def test_mme_refuses_half_a_pair_and_unknown_subtasks():
    with pytest.raises(ValueError, match="'i1' needs its two questions, got 1"):
        score("mme", _mme_pair("i1", "count", True, True)[:1])
    with pytest.raises(ValueError, match="unknown MME subtask 'smell'; known: existence"):
        score("mme", _mme_pair("i1", "smell", True, True))
    rows = _mme_pair("i1", "count", True, True)
    with pytest.raises(ValueError, match="MME answers are yes or no, .* has 'maybe'"):
        score("mme", [{**rows[0], "answer": "maybe"}, rows[1]])


# MMBench


def _circular(question, predictions, options=("red", "green", "blue")):
    """The right option is the first; rotation i moves it to another letter."""
    rows = []
    for turn, prediction in enumerate(predictions):
        rotated = options[turn:] + options[:turn]
        answer = "ABC"[rotated.index(options[0])]
        rows.append(
            row(
                prediction, answer, f"{question}.{turn}", group=question, split="s", options=rotated
            )
        )
    return rows


def test_mmbench_counts_a_question_only_if_every_rotation_is_right():
    always_a = _circular("q1", ["A", "A", "A"])
    knows = _circular("q2", ["A", "C", "B"])
    result = score("mmbench", always_a + knows)
    assert result == {"score": 50.0, "vanilla": 100.0, "unread": 0, "parts": {"s": 50.0}}


def test_mmbench_says_how_many_answers_no_rule_can_read():
    rows = _circular("q1", ["A", "red or green", "Z"])
    assert score("mmbench", rows)["unread"] == 1


@pytest.mark.parametrize("got", [1, 2])
def test_mmbench_refuses_a_question_without_all_its_rotations(got):
    with pytest.raises(ValueError, match=f"'q1' needs its 3 rotations, got {got}"):
        score("mmbench", _circular("q1", ["A", "C", "B"])[:got])


def _official(question, turns, moving, options=("red", "green", "blue", "All above are not right")):
    """Rows with the indices of the official table; the first options move, the others stay."""
    rows = []
    for turn in turns:
        turned = options[turn:moving] + options[:turn] + options[moving:]
        rows.append(
            row(
                "ABCD"[turned.index("red")],
                "ABCD"[turned.index("red")],
                str(question + turn * 1_000_000),
                group=str(question),
                options=turned,
            )
        )
    return rows  # fmt: skip


@pytest.mark.parametrize(("turns", "moving"), [(2, 2), (3, 3), (4, 4)])
def test_mmbench_has_as_many_rotations_as_options_move(turns, moving):
    """53 questions of the official table have four options and three rotations."""
    rows = _official(34, range(turns), moving)
    assert score("mmbench", rows)["score"] == 100
    wrong = [{**rows[0], "prediction": "D"}, *rows[1:]]
    for shuffled in (wrong, wrong[::-1]):  # the original is the row with the question's own index
        result = score("mmbench", shuffled)
        assert (result["score"], result["vanilla"]) == (0, 0)


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ((1, 2, 3), "'34' lacks its rotation 34: .*from 34 on, got 1000034, 2000034, 3000034"),
        ((0, 2, 3), "'34' lacks its rotation 1000034"),
        ((0, 1, 3), "'34' lacks its rotation 2000034"),
        ((2,), "'34' lacks its rotation 34"),
        ((0, 1, 2), "'34' needs its 4 rotations, got 3"),
        ((0,), "'34' needs its 4 rotations, got 1"),
    ],
)
def test_mmbench_names_the_rotation_that_is_missing(turns, said):
    with pytest.raises(ValueError, match=f"MMBench question {said}"):
        score("mmbench", _official(34, turns, 4))


def test_mmbench_can_be_read_by_older_rules_by_name():
    rows = _circular("q1", ["The answer is A.", "The answer is C.", "The answer is B."])
    older = get_benchmark("mmbench", "vlmevalkit-aca64dbb")
    assert older.score(rows) == mmbench.score(rows, "vlmevalkit-aca64dbb") == {
        "score": 0.0, "vanilla": 0.0, "unread": 1, "parts": {"s": 0.0}
    }  # fmt: skip
    assert older.sample_stats(rows)["right"] == older.score_sample(rows[0]) == 0
    current = get_benchmark("mmbench", BENCHMARKS["mmbench"].readings[0])
    assert current.score(rows) == score("mmbench", rows) and current.score(rows)["score"] == 100
    with pytest.raises(ValueError, match="reading 'x' of mmbench; known: vlmevalkit-e8e78f05, vlm"):
        get_benchmark("mmbench", "x")
    with pytest.raises(ValueError, match="unknown reading 'x'; known: vlmevalkit-e8e78f05, vlm"):
        mmbench.score(rows, "x")
    with pytest.raises(ValueError, match="reading 'x' of pope; known: none"):
        get_benchmark("pope", "x")


def test_seed_wants_the_bare_letter():
    rows = [row(p, "A", str(i), split="s") for i, p in enumerate(("A", "A ", "A.", "a"))]
    assert score("seed", rows) == {"score": 50.0, "image": 50.0, "parts": {"s": 50.0}}


# All


def _valid_rows(name):
    if name == "mme":
        return [r for i in range(6) for r in _mme_pair(f"i{i}", "count", i % 2, True)]
    if name == "pope":
        return _pope("random", 2, 1, 3, 1) + _pope("popular", 1, 1, 1, 1)
    if name == "mmbench":
        return [r for i in range(4) for r in _circular(f"q{i}", ["A", "C", "B" if i else "A"])]
    if name == "mmvet":
        return [
            row("red top", "-", str(i), answers=("red", "top" if i == "1" else "low")) for i in "01"
        ]
    if get_benchmark(name).media == "video":
        return [row("red" if i % 3 else "blue", "red", str(i), split="s") for i in range(7)]
    fields = {"split": "s", "answers": ("A",) * 10, "options": ("x", "y")}
    return [row("A" if i % 3 else "B", "A", str(i), **fields) for i in range(7)]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_headline_of_the_counts_is_the_score_also_for_resampled_sums(name):
    benchmark, rows = get_benchmark(name), _valid_rows(name)
    totals = total_of(rows, benchmark.sample_stats)
    expected = benchmark.score(rows)["score"]
    assert 0 < expected < benchmark.score(rows).get("best", 100)
    assert float(benchmark.aggregate(totals)) == pytest.approx(expected)
    twice = {key: np.array([value, 2 * value]) for key, value in totals.items()}
    np.testing.assert_allclose(benchmark.aggregate(twice), [expected, expected])
