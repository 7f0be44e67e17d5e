"""Tests behind verdicts: is a mean within limits, beyond them, or is that not clear; and several tests at once.

Replicates (seeds) stand along the first axis of every array and are taken as independent draws of a normal
distribution; what stands along further axes is tested separately.

- Whether a mean lies within two limits is decided by two one-sided t tests (Schuirmann, 1987): each limit's own
  hypothesis has to be rejected, so the larger p-value counts.
- Whether it lies beyond one of them is decided by the two-sided test: twice the one-sided p-value.
- Limits may be multiples of another mean.  Then the test is about ours - r x other, seed by seed, whose mean is zero at
  the limit; the other mean need not be known.
- Where all values are equal there is no t test.  An exact sign test takes its place: n values on one side of zero have
  p = 2^-n, which three values never make small and five do.

A statement with several parts holds only if all of them do.  Its p-value for that is the largest of theirs: whatever
part is wrong, that part's own test errs with at most its level (intersection-union, Berger, 1982).  It is contradicted
if any part is, for which the smallest p-value is multiplied by the number of parts (Bonferroni).  Statements that
belong together are corrected by Holm's procedure (1979), which bounds the probability of a single wrong rejection among
them whatever their dependence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Array = NDArray[np.float64]

LEVEL = 0.05
"""Level of every test."""
FEWEST = 3
"""Replicates below which nothing is decided."""
CONFIDENCE = 1 - 2 * LEVEL
"""Of intervals: this one lies within limits exactly when the two one-sided tests at `LEVEL` say so."""
ROUNDING = 1e-12
"""Relative difference below which values are called equal."""


class Place(IntEnum):
    """Where a mean lies in relation to two limits."""

    UNCLEAR = 0
    INSIDE = 1
    BELOW = 2
    ABOVE = 3


@dataclass(frozen=True)
class Evidence:
    """One-sided p-values for where a mean lies in relation to a lower and an upper limit.

    Attributes:
        not_below: for a mean above the lower limit.
        not_above: for a mean below the upper limit.
        below: for a mean below the lower limit.
        above: for a mean above the upper limit.
    """

    not_below: Array
    not_above: Array
    below: Array
    above: Array

    @property
    def inside(self) -> Array:
        """For a mean between the limits."""
        return np.maximum(self.not_below, self.not_above)


def positive(values: Array) -> Array:
    """Return the p-value for a mean above zero, against one that is not: a one-sided t test, or a sign test.

    Arguments:
        values: with shape (n, *), n at least 2.

    Returns:
        p-values with shape (*).
    """
    values = np.asarray(values, dtype=np.float64)
    n, mean = len(values), values.mean(axis=0)
    equal = np.ptp(values, axis=0) <= ROUNDING * np.abs(values).max(axis=0)
    error = np.where(equal, 1.0, values.std(axis=0, ddof=1) / np.sqrt(n))
    tested = special.stdtr(n - 1, -mean / error)
    signs = np.where(values[0] > 0, 0.5**n, 1.0)
    return np.where(equal, signs, tested)


def evidence(over_low: Array, over_high: Array) -> Evidence:
    """Return what replicates say about where a mean lies.

    Arguments:
        over_low: how far each replicate is above the lower limit, with shape (n, *).
        over_high: the same for the upper limit; with one limit the same array.
    """
    over_low, over_high = np.asarray(over_low), np.asarray(over_high)
    return Evidence(positive(over_low), positive(-over_high), positive(-over_low), positive(over_high))


@dataclass(frozen=True)
class Moments:
    """Mean, standard deviation and number of independent values, where the values themselves are not kept."""

    mean: float
    sd: float
    count: int

    def times(self, factor: float) -> "Moments":
        """Return the moments of the values multiplied by a factor."""
        return Moments(self.mean * factor, self.sd * abs(factor), self.count)


def evidence_of_moments(ours: Moments, low: Moments, high: Moments) -> Evidence:
    """Return what two independent samples say about where our mean lies, by Welch's test.

    Arguments:
        ours: the sample.
        low: the other sample, multiplied so that its mean is the lower limit.
        high: the same for the upper limit.

    Raises:
        ValueError: neither sample has any spread.
    """
    if ours.sd == 0 and low.sd == 0:
        raise ValueError("spread: got none in both samples, expected some; a t test needs it")

    def larger(a: Moments, b: Moments) -> Array:
        test = stats.ttest_ind_from_stats(
            a.mean, a.sd, a.count, b.mean, b.sd, b.count, equal_var=False, alternative="greater"
        )
        return np.asarray(test.pvalue)

    return Evidence(larger(ours, low), larger(high, ours), larger(low, ours), larger(ours, high))


def interval_of_moments(ours: Moments, other: Moments, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return a confidence interval of the difference of two means, by Welch's approximation.

    Raises:
        ValueError: neither sample has any spread.
    """
    parts = np.array([one.sd**2 / one.count for one in (ours, other)])
    if parts.sum() == 0:
        raise ValueError("spread: got none in both samples, expected some; an interval needs it")
    freedom = parts.sum() ** 2 / sum(part**2 / (one.count - 1) for part, one in zip(parts, (ours, other), strict=True))
    half = float(stats.t.ppf((1 + confidence) / 2, freedom) * np.sqrt(parts.sum()))
    return ours.mean - other.mean - half, ours.mean - other.mean + half


def place(known: Evidence, level: float = LEVEL) -> NDArray[np.int_]:
    """Return the `Place` of a mean, with the shape of the p-values.

    A mean inside the limits is called outside with at most ``level`` / 2 on each side, one outside is called inside
    with at most ``level``.
    """
    says = [known.inside <= level, 2 * known.below <= level, 2 * known.above <= level]
    return np.select(says, [Place.INSIDE, Place.BELOW, Place.ABOVE], Place.UNCLEAR)


def interval(values: Array, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Return a confidence interval of the mean of n values, or None below two of them."""
    if len(values) < 2:
        return None
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * float(stats.sem(values))
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def all_hold(p_values: Sequence[float]) -> float:
    """Return the p-value for every part being true: the largest."""
    return max(p_values)


def any_holds(p_values: Sequence[float]) -> float:
    """Return the p-value for at least one part being true: the smallest, times their number."""
    return min(1.0, len(p_values) * min(p_values))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of a family after Holm's correction; none where there are none.

    The k-th smallest of m is multiplied by m - k + 1, and none may be smaller than the one before.  The function of
    statsmodels gives the same (tested), but collects garbage in every call, which takes longer than all verdicts.
    """
    count, p = len(p_values), np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty(count)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate((count - np.arange(count)) * p[order]))
    return [float(one) for one in corrected]
