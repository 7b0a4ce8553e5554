"""Intervals that cover the truth, comparisons that are paired."""

from __future__ import annotations

import numpy as np
import pytest

from sparsevlm.analysis.statistics import (
    check_paired,
    estimate,
    mcnemar,
    relative_accuracy,
    resample_weights,
    resampled_scores,
    stats_of_groups,
)
from sparsevlm.benchmarks import get_benchmark

GQA = get_benchmark("gqa")


def rows(right, groups=None, splits=None, benchmark="gqa"):
    out = []
    for i, hit in enumerate(right):
        out.append(
            {
                "id": str(i),
                "media": "scene:0",
                "question": "q",
                "answer": "yes",
                "group": groups[i] if groups else str(i),
                "split": splits[i] if splits else "",
                "answers": [],
                "options": [],
                "prediction": "yes" if hit else "no",
            }
        )
    return out


def table(right, **how):
    return stats_of_groups(rows(right, **how), GQA.sample_stats)


def paired_difference(first, second, aggregate, **how):
    """The score of the first minus that of the second, with its paired interval."""
    check_paired(first, second)
    ends = [resampled_scores(one, aggregate, **how) for one in (first, second)]
    return estimate(ends[0] - ends[1])


def test_a_group_is_drawn_as_a_whole_and_every_split_keeps_its_size():
    splits = ("a",) * 5 + ("b",) * 3
    weights = resample_weights(splits, resamples=500)
    assert weights.shape == (500, 8)
    assert (weights[:, :5].sum(1) == 5).all() and (weights[:, 5:].sum(1) == 3).all()
    assert weights.std() > 0
    np.testing.assert_array_equal(weights, resample_weights(splits, resamples=500))
    assert (weights != resample_weights(splits, resamples=500, seed=1)).any()


def test_the_first_value_is_the_score_itself():
    scores = resampled_scores(table([1, 1, 1, 0]), GQA.aggregate, resamples=10)
    assert scores.shape == (11,) and scores[0] == 75


def test_an_interval_needs_the_same_samples_on_both_sides():
    other = rows([1, 0, 1])
    other[2]["id"] = other[2]["group"] = "9"
    with pytest.raises(ValueError, match="needs the same samples on both sides, 2 groups"):
        paired_difference(table([1, 0, 1]), stats_of_groups(other, GQA.sample_stats), GQA.aggregate)


def test_records_in_another_order_are_paired_by_name():
    a, b = rows([1, 0, 1, 0, 1, 1]), rows([1, 0, 0, 0, 1, 1])
    forward = paired_difference(
        stats_of_groups(a, GQA.sample_stats),
        stats_of_groups(b, GQA.sample_stats),
        GQA.aggregate,
        resamples=200,
    )
    backward = paired_difference(
        stats_of_groups(a, GQA.sample_stats),
        stats_of_groups(b[::-1], GQA.sample_stats),
        GQA.aggregate,
        resamples=200,
    )
    assert forward == backward
    assert forward.value == pytest.approx(100 / 6)


def test_equal_answers_give_a_difference_of_exactly_zero():
    same = paired_difference(table([1, 0] * 20), table([1, 0] * 20), GQA.aggregate, resamples=200)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert not same.excludes_zero


def test_pairing_makes_a_consistent_gain_certain():
    rng = np.random.default_rng(0)
    worse = rng.random(200) < 0.5
    better = worse | (rng.random(200) < 0.1)
    gain = paired_difference(table(better), table(worse), GQA.aggregate, resamples=2000)
    assert gain.excludes_zero and gain.low > 0
    unpaired = resampled_scores(table(better), GQA.aggregate, resamples=2000) - resampled_scores(
        table(worse), GQA.aggregate, resamples=2000, seed=1
    )
    assert gain.high - gain.low < 0.7 * np.subtract(*np.percentile(unpaired[1:], [97.5, 2.5]))


def _coverage(simulate, truth, headline, counts, repeats=200, resamples=300):
    hits = 0
    for seed in range(repeats):
        first, second = simulate(np.random.default_rng(seed))
        interval = paired_difference(
            stats_of_groups(first, counts), stats_of_groups(second, counts), headline,
            resamples=resamples, seed=seed,
        )  # fmt: skip
        hits += interval.low <= truth <= interval.high
    return hits / repeats


def test_the_interval_covers_the_true_difference_about_95_times_in_100():
    def simulate(rng):
        hard = rng.random(120)
        return rows(hard < 0.8), rows(np.where(rng.random(120) < 0.5, hard, rng.random(120)) < 0.7)

    # Three standard errors of a share of 0.95 in 200 are 0.046.
    assert 0.90 <= _coverage(simulate, 10, GQA.aggregate, GQA.sample_stats) <= 0.99


def test_groups_that_stand_or_fall_together_are_not_counted_as_many():
    """Four copies per group: resampling single samples would cover far too seldom."""
    names = [str(i // 4) for i in range(160)]

    def simulate(rng):
        return [rows(np.repeat(rng.random(40) < p, 4), groups=names) for p in (0.8, 0.6)]

    grouped = _coverage(simulate, 20, GQA.aggregate, GQA.sample_stats)
    assert 0.90 <= grouped <= 0.99

    def ungrouped(rng):
        first, second = simulate(rng)
        return [{**r, "group": r["id"]} for r in first], [{**r, "group": r["id"]} for r in second]

    assert _coverage(ungrouped, 20, GQA.aggregate, GQA.sample_stats) < 0.8


def test_the_interval_of_pope_is_that_of_the_mean_f1():
    pope = get_benchmark("pope")

    def simulate(rng):
        splits = ["random"] * 80 + ["popular"] * 80 + ["adversarial"] * 80
        truth = rng.random(240) < 0.5
        both = []
        for error in (0.1, 0.2):
            said = truth ^ (rng.random(240) < error)
            made = rows([1] * 240, splits=splits)
            for r, t, s in zip(made, truth, said, strict=True):
                r["answer"], r["prediction"] = ("yes" if t else "no"), ("yes" if s else "no")
            both.append(made)
        return both

    covered = _coverage(simulate, 10, pope.aggregate, pope.sample_stats, repeats=150)
    assert 0.89 <= covered <= 1.0  # 80 a split: F1 is a little biased, 10 is its large-sample truth


def test_relative_accuracy_is_the_mean_of_the_percentages():
    method = [np.array([50.0, 40.0]), np.array([900.0, 800.0])]
    dense = [np.array([100.0, 80.0]), np.array([1000.0, 1000.0])]
    np.testing.assert_allclose(relative_accuracy(method, dense), [70, 65])


def test_relative_accuracy_does_not_exist_where_the_dense_model_scores_zero():
    values = relative_accuracy([np.array([1.0, 1.0, 1.0])], [np.array([0.0, 0.0, 1.0])])
    assert np.isnan(values[0]) and np.isnan(estimate(values).low)
    assert not estimate(values).excludes_zero


def test_mcnemar_against_the_binomial_by_hand():
    first, second = [1] * 9 + [0] * 1 + [1, 0] * 5, [0] * 9 + [1] * 1 + [1, 0] * 5
    result = mcnemar(first, second)
    assert (result.only_first, result.only_second) == (9, 1)
    assert result.p_value == pytest.approx(2 * (1 + 10) / 1024)
    assert mcnemar([1, 0], [1, 0]).p_value == 1
    assert mcnemar([1] * 3000, [0] * 3000).p_value == 0.0


def test_mcnemar_refuses_partial_credit_and_unequal_lists():
    with pytest.raises(ValueError, match="outcomes of 0 or 1"):
        mcnemar([0.3, 1], [1, 1])
    with pytest.raises(ValueError, match="two lists of one length"):
        mcnemar([1], [1, 0])


def test_mcnemar_rejects_a_true_null_at_most_as_often_as_it_says():
    rejected = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        rejected += mcnemar(rng.random(100) < 0.7, rng.random(100) < 0.7).p_value < 0.05
    assert rejected / 400 <= 0.06
