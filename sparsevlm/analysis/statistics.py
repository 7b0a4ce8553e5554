"""How sure is a difference? Paired bootstrap over groups of samples, and McNemar's test.

Methods answer the same questions, so what they get right is compared question by question. The
unit that is resampled is the group (a sample, an MME pair, a circular question), inside its split,
because the sizes of the splits belong to the benchmark and not to chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sparsevlm.benchmarks.counting import Counts, Row, groups_of

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 20240604

Headline = Callable[[Mapping[str, np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class GroupCounts:
    """The additive counts of every group of one record.

    Attributes
    ----------
    groups, splits : tuple of str
        Names and splits, sorted by split and name, so that two records of the same samples line up.
    keys : tuple of str
        Names of the counts.
    values : float array [groups, keys]
    """

    groups: tuple[str, ...]
    splits: tuple[str, ...]
    keys: tuple[str, ...]
    values: np.ndarray

    def totals(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return the weighted sums by key; `weights` is [..., groups], the sums are [...]."""
        sums = weights.astype(float) @ self.values
        return {key: sums[..., i] for i, key in enumerate(self.keys)}


@dataclass(frozen=True)
class Estimate:
    """A number on the samples themselves, with the ends of its percentile interval.

    `level` is the coverage that is aimed at.
    """

    value: float
    low: float
    high: float
    level: float = LEVEL

    @property
    def exists(self) -> bool:
        """False for a relative accuracy where the dense model scores 0."""
        return not math.isnan(self.value + self.low + self.high)

    @property
    def excludes_zero(self) -> bool:
        """True where the whole interval is above or below zero."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.value:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


def stats_of_groups(rows: Sequence[Row], counts: Callable[[Sequence[Row]], Counts]) -> GroupCounts:
    """Return the counts (`Benchmark.sample_stats`) of every group of the predictions of a
    record."""
    groups = groups_of(rows)
    order = sorted(groups, key=lambda name: (groups[name][0]["split"], name))
    per_group = [counts(groups[name]) for name in order]
    keys = tuple(sorted({key for one in per_group for key in one}))
    values = np.array([[one.get(key, 0.0) for key in keys] for one in per_group])
    return GroupCounts(tuple(order), tuple(groups[n][0]["split"] for n in order), keys, values)


@lru_cache(maxsize=8)  # all methods of a benchmark share theirs
def resample_weights(
    splits: tuple[str, ...], *, resamples: int = RESAMPLES, seed: int = SEED
) -> np.ndarray:
    """Return how often each group is drawn in each resample, int array [resamples, groups].

    Every split keeps its size. The same splits and seed give the same weights, which is what pairs
    the methods.
    """
    rng = np.random.default_rng(seed)
    weights = np.zeros((resamples, len(splits)), dtype=np.int32)
    for split in sorted(set(splits)):
        members = np.flatnonzero(np.array(splits) == split)
        even = np.full(len(members), 1 / len(members))
        weights[:, members] = rng.multinomial(len(members), even, size=resamples)
    weights.flags.writeable = False
    return weights


def resampled_scores(
    table: GroupCounts, headline: Headline, *, resamples: int = RESAMPLES, seed: int = SEED
) -> np.ndarray:
    """Return the score on the samples, then on every resample: float array [1 + resamples]."""
    drawn = resample_weights(table.splits, resamples=resamples, seed=seed)
    observed = np.ones((1, len(table.groups)), dtype=np.int32)
    return np.asarray(headline(table.totals(np.concatenate([observed, drawn]))))


def estimate(values: np.ndarray) -> Estimate:
    """Return the first of `values` with the percentile interval of the others.

    A number that does not exist (a relative accuracy where the dense model scores 0) gives nan.
    """
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(values[1:], [tail, 100 - tail])
    return Estimate(float(values[0]), float(low), float(high))


def mean_and_interval(values: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis and its 95 % bootstrap interval, ``[3, ...]``.

    The three are mean, low and high. The values of the questions are not paired.
    """
    values = np.asarray(values, float)
    weights = resample_weights(("",) * len(values), seed=0) / len(values)
    low, high = np.percentile(np.tensordot(weights, values, axes=1), (2.5, 97.5), axis=0)
    return np.stack([values.mean(0), low, high])


def check_paired(first: GroupCounts, second: GroupCounts) -> None:
    """Raise ValueError unless both hold the same groups: only then may they be compared."""
    if first.groups != second.groups or first.splits != second.splits:
        odd = sorted(set(first.groups) ^ set(second.groups))
        raise ValueError(
            "a paired comparison needs the same samples on both sides, "
            f"{len(odd)} groups are only on one: {', '.join(odd[:3])}"
        )


def relative_accuracy(method: Sequence[np.ndarray], dense: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean over benchmarks of 100 * method / dense, in percent, elementwise.

    Both are float arrays [1 + resamples] by benchmark, from `resampled_scores` with one seed per
    benchmark shared by all methods. It is nan where the dense model scores 0.

    Source
    ------
    The paper's "Acc." column is the plain mean of its eight percentages.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = [np.where(d == 0, np.nan, 100 * m / d) for m, d in zip(method, dense, strict=True)]
    return np.mean(shares, axis=0)


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test on paired right/wrong outcomes: samples that one side alone has right.

    The p-value is two-sided: the chance of a split at least as uneven if both were equally good.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: Sequence[float], second: Sequence[float]) -> McNemar:
    """Compare two lists of 0/1 outcomes on the same samples.

    Raises
    ------
    ValueError
        The lists differ in length, are empty, or hold anything but 0 and 1 (partial credit).
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"needs two lists of one length, got shapes {a.shape} and {b.shape}")
    if not np.isin(np.concatenate([a, b]), (0.0, 1.0)).all():
        raise ValueError("McNemar's test needs outcomes of 0 or 1; resample their scores instead")
    only_first, only_second = int(np.sum(a > b)), int(np.sum(b > a))
    tosses, fewest = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(tosses, k) for k in range(fewest + 1))
    return McNemar(only_first, only_second, min(1.0, 2 * tail / 2**tosses))
