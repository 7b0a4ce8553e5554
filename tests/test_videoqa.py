"""The scorer of the four video benchmarks: the match, and a judge's verdicts beside it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from sparsevlm.analysis.statistics import resampled_scores, stats_of_groups
from sparsevlm.benchmarks import Sample, get_benchmark, videoqa
from sparsevlm.benchmarks.counting import add_up, total_of

NAMES = ("tgif", "msvd", "msrvtt", "activitynet")


def row(prediction, answer, id="1", verdict=None, **fields):
    sample = Sample(id=id, media="clip:0", question="q", answer=answer, **fields)
    extra = {"verdict": verdict} if verdict else {}
    return {**sample.to_json(), "prediction": prediction} | extra


@pytest.mark.parametrize("name", NAMES)
def test_the_four_benchmarks_score_alike(name):
    benchmark = get_benchmark(name)
    rows = [row("A dog.", "dog", "1"), row("cat", "dog", "2")]
    assert benchmark.score(rows) == {"score": 50.0, "exact": 50.0, "parts": {}}
    assert benchmark.media == "video"


@pytest.mark.parametrize(
    ("prediction", "answer", "match", "exact"),
    [
        ("dog", "dog", 1, 1), ("A DOG.", "the dog", 1, 1),
        ("The man is walking a dog.", "dog", 1, 0), ("hotdog", "dog", 0, 0), ("", "dog", 0, 0),
        # plurals, on both sides
        ("two dogs", "dog", 1, 0), ("dog", "dogs", 1, 1), ("knives", "knife", 1, 1),
        ("boxes", "box", 1, 1), ("ladies", "lady", 1, 1), ("glass", "glasses", 1, 1),
        ("women", "woman", 1, 1), ("people", "person", 1, 1), ("princess", "princes", 0, 0),
        ("bus", "bu", 0, 0), ("gas", "ga", 0, 0),
        # what is done
        ("He rides a bike", "ride", 1, 0), ("riding", "ride", 1, 1), ("running", "run", 1, 1),
        ("dance", "dancing", 1, 1), ("plan", "plane", 0, 0), ("string", "str", 0, 0),
        # numbers
        ("three", "3", 1, 1), ("3 times", "three", 1, 0), ("twice", "2", 1, 1),
        ("twelve", "12", 1, 1), ("13", "3", 0, 0),
        # phrases: whole, in order, together
        ("a red circle on the left", "red circle", 1, 0),
        ("a circle that is red", "red circle", 0, 0), ("red", "red circle", 0, 0),
        # yes and no: the first of them counts
        ("Yes, it does", "yes", 1, 0), ("No, yes", "yes", 0, 0), ("It is not.", "no", 0, 0),
        ("no", "no", 1, 1), ("none", "no", 0, 0),
        # a reference that is only an article
        ("A", "a", 1, 1), ("the letter b", "a", 0, 0),
    ],
)  # fmt: skip
def test_what_matches(prediction, answer, match, exact):
    assert videoqa.score_sample(row(prediction, answer)) == match
    assert videoqa.exact(row(prediction, answer)) == exact


def test_a_reference_without_a_word_is_refused():
    with pytest.raises(ValueError, match="'...' of '1' has no word"):
        videoqa.score_sample(row("dog", "..."))


def test_parts_are_matches_by_split():
    rows = [row("x", "x", "1", split="what"), row("x", "y", "2", split="what"),
            row("x", "x", "3", split="who")]  # fmt: skip
    score = videoqa.score(rows)
    assert score["parts"] == {"what": 50.0, "who": 100.0}
    assert score["score"] == pytest.approx(200 / 3)


# Verdicts


def official(replies):
    """Accuracy and score as `eval_video_qa.py` gets them from replies that it can read.

    It looks for yes first, then for no, anywhere; neither counts in the mean score only.
    """
    points, says = [], []
    for pred, score in replies:
        points.append(int(score))
        pred = pred.lower()
        says += ["yes"] if pred.count("yes") else ["no"] if pred.count("no") else []
    return 100 * says.count("yes") / len(says), sum(points) / len(replies)


def test_accuracy_and_score_are_those_of_the_official_script():
    rng = random.Random(0)
    preds = ["yes", "no", "Yes", "NO", "yes, it is", "not sure", "unknown", "no; yes", "eyes",
             "maybe", "", "partially", " Yes. "]  # fmt: skip
    scores = [0, 1, 2, 3, 4, 5, 4.8, 2.5, "3", 6, 50, -1, -0.5, True, 1e9, " 4 "]
    replies = [(rng.choice(preds), rng.choice(scores)) for _ in range(400)]
    from sparsevlm.evaluation.judges.replies import read_video_reply

    texts = [str({"pred": pred, "score": score}) for pred, score in replies]
    verdicts = [read_video_reply(text).to_json() for text in texts]
    rows = [row("x", "y", str(i), verdict=verdict) for i, verdict in enumerate(verdicts)]
    accuracy, score = official(replies)
    assert videoqa.score(rows)["judge"] == {
        "accuracy": pytest.approx(accuracy), "score": pytest.approx(score),
        "judged": 400, "broken": 0, "missing": 0,
    }  # fmt: skip


def test_broken_and_missing_verdicts_are_counted_and_are_not_no():
    rows = [
        row("x", "x", "1", verdict={"pred": "yes", "score": 5}),
        row("x", "x", "2", verdict={"broken": "no dictionary"}),
        row("x", "x", "3"),
    ]
    judge = videoqa.score(rows)["judge"]
    assert judge == {"accuracy": 100.0, "score": 5.0, "judged": 1, "broken": 1, "missing": 1}


@pytest.mark.parametrize(
    "verdict",
    [{"pred": "maybe", "score": 1}, {"pred": "yes"}, {"score": 3},
     {"pred": "yes, it is", "score": 4}, {"pred": "yes", "score": "4"},
     {"pred": "yes", "score": True}, {"pred": "yes", "score": 4.5}],
)  # fmt: skip
def test_a_verdict_of_another_shape_is_refused(verdict):
    with pytest.raises(ValueError, match="the verdict on '1' must have pred yes or no"):
        videoqa.sample_stats([row("x", "x", verdict=verdict)])


def test_without_verdicts_there_is_no_judge():
    assert "judge" not in videoqa.score([row("x", "x")])


def test_counts_add_up_and_all_scores_can_be_resampled():
    rng = random.Random(1)
    rows = [
        row(rng.choice("xy"), "x", str(i), split=rng.choice("ab"),
            verdict={"pred": rng.choice(["yes", "no"]), "score": rng.randint(0, 5)})
        for i in range(40)
    ]  # fmt: skip
    halves = add_up(
        [total_of(rows[:20], videoqa.sample_stats), total_of(rows[20:], videoqa.sample_stats)]
    )
    assert halves == total_of(rows, videoqa.sample_stats)
    table, score = stats_of_groups(rows, videoqa.sample_stats), videoqa.score(rows)
    for headline, observed in (
        (get_benchmark("tgif").aggregate, score["score"]),
        (videoqa.judged_accuracy, score["judge"]["accuracy"]),
        (videoqa.judged_score, score["judge"]["score"]),
    ):
        drawn = resampled_scores(table, headline, resamples=50)
        assert drawn.shape == (51,) and drawn[0] == pytest.approx(observed)
        assert np.ptp(drawn) > 0
