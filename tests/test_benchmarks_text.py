"""Reading free text for TextVQA, MM-Vet and MMBench, on the traps of reimplementations."""

from __future__ import annotations

import pytest
from benchmark_rows import row, score

from sparsevlm.benchmarks.answers import CONTRACTIONS, READINGS, infer_option, normalise

# TextVQA


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Two Dogs!", "2 dogs"), ("none", "0"), ("dont", "don't"), ("couldntve", "couldntve"),
        ("couldnt've", "couldn't've"), ("Wont stop", "won't stop"), ("bob's", "bob 's"),
        ("1.5", "1.5"), ("Mr. X", "mr x"), ("1,000", "1000"), ("coca-cola", "coca cola"),
        ("coca - cola", "coca cola"), ("a\nb", "b"), ("A", ""), ("an apple", "apple"),
        ("eleven", "eleven"), ("what?", "what"),
    ],
)  # fmt: skip
def test_answers_are_normalised_as_by_the_vqa_server(text, normal):
    assert normalise(text) == normal


def test_the_contractions_are_the_official_ones():
    assert len(CONTRACTIONS) == 114
    assert CONTRACTIONS["somebody'd"] == "somebodyd"
    assert CONTRACTIONS["'ows'at"] == "'ow's'at"
    assert CONTRACTIONS["yall'd've"] == CONTRACTIONS["y'all'dve"] == "y'all'd've"
    assert not {"its", "were", "id've", "im"} & CONTRACTIONS.keys()


@pytest.mark.parametrize(
    ("agreeing", "credit"), [(0, 0), (1, 30), (2, 60), (3, 90), (4, 100), (10, 100)]
)
def test_textvqa_gives_partial_credit(agreeing, credit):
    humans = ("two",) * agreeing + tuple(f"other{i}" for i in range(10 - agreeing))
    assert score("textvqa", [row("2", "two", answers=humans)])["score"] == pytest.approx(credit)


def test_textvqa_needs_ten_humans():
    with pytest.raises(ValueError, match="needs 10 human answers per sample, '1' has 3"):
        score("textvqa", [row("x", "x", answers=("x",) * 3)])


# MM-Vet


@pytest.mark.parametrize(
    ("prediction", "share"),
    [
        ("A red circle, left.", 1),
        ("the circle is red", 1 / 2),
        ("redder leftover", 0),
        ("left of two", 1 / 2),
        ("", 0),
    ],
)
def test_mmvet_gives_each_required_fact_its_share(prediction, share):
    rows = [row(prediction, "red left", answers=("red", "left"))]
    assert score("mmvet", rows)["score"] == pytest.approx(100 * share)


def test_mmvet_takes_either_wording_of_a_fact_and_whole_words_in_order():
    rows = [row("it says stop sign", "stop", answers=("stop sign<OR>halt",))]
    assert score("mmvet", rows)["score"] == 100
    assert score("mmvet", [{**rows[0], "prediction": "sign stop"}])["score"] == 0


def test_mmvet_refuses_samples_that_cannot_be_answered():
    with pytest.raises(ValueError, match="has none"):
        score("mmvet", [row("x", "x")])
    with pytest.raises(ValueError, match="'!' has no word"):
        score("mmvet", [row("A", "A", answers=("!",))])


def test_mmvet_finds_a_fact_that_is_only_an_article():
    rows = [row("It is Sample A.", "A", answers=("A",))]
    assert score("mmvet", rows)["score"] == 100
    assert score("mmvet", [{**rows[0], "prediction": "it is sample B, at a guess"}])["score"] == 100
    assert score("mmvet", [{**rows[0], "prediction": "sample B"}])["score"] == 0


# MMBench


@pytest.mark.parametrize(
    ("prediction", "letter"),
    [
        ("B", "B"), ("B.", "B"), ("(B)", "B"), ("Answer: B", "B"), ("A", "A"),
        ("A red thing", "A"), ("A rather green thing", "A"), ("A very nice green thing", "B"),
        ("green", "B"), ("It is Green", "B"), ("A or B", ""), ("red or green", ""), ("D", ""),
        ("", ""), ("The answer is A.", "A"), ("The answer is B.", "B"), ("the answer is b", "B"),
        ("B is what I would say here", ""), ("B: I would say so, so the answer is **C**", "C"),
        ("The answer is D", ""), ("The answer is a dog", "A"), ("A or B? The answer is B", "B"),
        ("It is red, and nothing else than that", ""), ("That thing is green.", "B"),
        ("Z", "Z"), ("None of them: Z", "Z"), ("Cannot determine the answer, B", "Z"),
        ("Failed to obtain answer via API B", ""), ("Failed to obtain answer via API", ""),
    ],
)  # fmt: skip
def test_mmbench_infers_the_option_by_the_current_rules(prediction, letter):
    assert infer_option(prediction, ("red", "green", "blue")) == letter


@pytest.mark.parametrize(
    ("prediction", "letter"),
    [
        ("The answer is A.", ""), ("The answer is B.", "B"), ("A", "A"), ("A red thing", "A"),
        ("A rather green thing", "B"), ("B is what I would say here", "B"), ("A or B", ""),
        ("The answer is **b**", ""), ("It is red, and nothing else than that", "A"), ("Z", "Z"),
        ("I can't process this file.", "Z"),
    ],
)  # fmt: skip
def test_mmbench_infers_the_option_by_the_rules_of_april_2025(prediction, letter):
    assert infer_option(prediction, ("red", "green", "blue"), READINGS[1]) == letter


def test_options_that_are_no_text():
    assert infer_option("is 3", (1, 2, 3, None)) == "C"
    assert infer_option("D", (1, 2, float("nan"), 4)) == "D"
    assert infer_option("nan", (1, 2, float("nan"))) == ""
    older = READINGS[1]  # an article is one also where there is no option A
    assert infer_option("it is A or B", (None, "x"), older) == ""
    assert infer_option("A or B", (None, "x"), older) == "B"
    for options in ((), ("x",) * 27):
        with pytest.raises(ValueError, match="a question has 1 to 26 options, got"):
            infer_option("A", options)
