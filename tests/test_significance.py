"""Tests behind verdicts: against other libraries, and their error rates on synthetic claims whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from hsivi import significance
from hsivi.significance import LEVEL, Evidence, Moments, Place, evidence, holm, interval, place, positive

REPEATS = 20_000


def at_most(rate: float, level: float, repeats: int = REPEATS) -> bool:
    """Whether a rate is at most a level, up to four standard errors."""
    return rate <= level + 4 * np.sqrt(level * (1 - level) / repeats)


def draws(n: int, mean: float, sd: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, n]).normal(mean, sd, (n, REPEATS))


def about(values: np.ndarray, low: float, high: float) -> Evidence:
    return evidence(values - low, values - high)


# ---------------------------------------------------------------------------------------------- against other libraries
@given(st.lists(st.floats(-5, 5), min_size=3, max_size=8, unique=True), st.floats(-3, 3), st.floats(0.1, 4))
def test_two_one_sided_tests_agree_with_statsmodels(values, centre, half):
    x = np.array(values)
    if np.ptp(x) < 1e-3:
        return
    expected, _, _ = DescrStatsW(x).ttost_mean(centre - half, centre + half)
    assert float(about(x, centre - half, centre + half).inside) == pytest.approx(float(expected), abs=1e-9)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=8, unique=True))
def test_a_mean_is_equivalent_exactly_where_the_interval_is_inside(values):
    x = np.array(values)
    if np.ptp(x) < 1e-3:
        return
    low, high = interval(x)
    expected = DescrStatsW(x).tconfint_mean(alpha=2 * LEVEL)
    assert (low, high) == pytest.approx(expected, rel=1e-9)
    room = 1e-6 * (1 + np.ptp(x))
    assert place(about(x, low - room, high + room)) == Place.INSIDE
    assert place(about(x, low + room, high + room)) != Place.INSIDE


def test_one_sided_p_values_are_those_of_scipy():
    x = np.random.default_rng(1).normal(0.3, 1, (5, 4))
    assert np.allclose(positive(x), stats.ttest_1samp(x, 0, alternative="greater").pvalue)
    assert np.allclose(positive(x) + positive(-x), 1)


@pytest.mark.parametrize(("n", "p"), [(3, 0.125), (5, 1 / 32)])
def test_equal_values_get_a_sign_test(n, p):
    x = np.column_stack([np.full(n, 0.1 + 0.2), np.zeros(n), np.full(n, -1.0), np.arange(n) + 1e6])
    assert positive(x)[:3] == pytest.approx([p, 1, 1])
    assert positive(x)[3] < 1e-6, "other columns are tested as usual"
    nearly = np.array([0.3, 0.1 + 0.2, 0.3, 0.1 + 0.2, 0.3])[:n]
    assert positive(nearly) == pytest.approx(p), "rounding is no spread"


def test_moments_give_welchs_test():
    rng = np.random.default_rng(2)
    a, b = rng.normal(1, 0.1, 30), rng.normal(1.02, 0.3, 12)
    ours, other = (Moments(float(x.mean()), float(x.std(ddof=1)), len(x)) for x in (a, b))
    known = significance.evidence_of_moments(ours, other.times(0.9), other.times(1.1))
    expected = [
        stats.ttest_ind(a, 0.9 * b, equal_var=False, alternative="greater").pvalue,
        stats.ttest_ind(a, 1.1 * b, equal_var=False, alternative="less").pvalue,
    ]
    assert [float(known.not_below), float(known.not_above)] == pytest.approx(expected)
    assert float(known.below) == pytest.approx(1 - expected[0])
    assert float(known.above) == pytest.approx(1 - expected[1])
    between = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.9)
    assert significance.interval_of_moments(ours, other) == pytest.approx((between.low, between.high))
    for fails in (significance.evidence_of_moments, lambda a, b, _: significance.interval_of_moments(a, b)):
        with pytest.raises(ValueError, match="got none in both samples, expected some"):
            fails(Moments(1, 0, 3), Moments(1, 0, 3), Moments(1, 0, 3))


def test_corrections_by_hand():
    # Holm: 0.01 x 3, then 0.02 x 2, then 0.03, each at least the one before.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.6]) == pytest.approx([1, 1])
    assert holm([0.02]) == pytest.approx([0.02])
    assert holm([]) == []
    assert significance.all_hold([0.01, 0.2]) == 0.2
    assert significance.any_holds([0.01, 0.2]) == pytest.approx(0.02)
    assert significance.any_holds([0.6, 0.7]) == 1


def test_holm_agrees_with_statsmodels():
    for seed in range(5):
        p = np.random.default_rng(seed).uniform(0, 0.3, 3 + seed).round(2)  # with ties
        assert holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1])


def test_one_value_has_no_interval():
    assert interval(np.array([1.0])) is None


# ---------------------------------------------------------------------------------------------------------- error rates
@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("edge", [-1, 1])
def test_a_number_outside_the_margin_is_rarely_called_reproduced(n, edge):
    """On the limit itself, the worst case, with a margin that is wide against the spread: the level is used up."""
    rate = np.mean(place(about(draws(n, edge * 5.0), -5, 5)) == Place.INSIDE)
    assert at_most(rate, LEVEL) and rate > 0.8 * LEVEL


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_number_inside_the_margin_is_rarely_called_better_or_worse(n):
    """On the limit, from inside: half the level on that side and nothing on the other."""
    found = place(about(draws(n, 5.0), -5, 5))
    assert at_most(np.mean(found == Place.ABOVE), LEVEL / 2) and np.mean(found == Place.ABOVE) > 0.8 * LEVEL / 2
    assert np.mean(found == Place.BELOW) == 0
    narrow = place(about(draws(n, 0.0), -1e-3, 1e-3))
    assert at_most(np.mean(np.isin(narrow, [Place.BELOW, Place.ABOVE])), LEVEL), "both sides together"


def test_power_rises_with_the_number_of_seeds():
    inside = [np.mean(place(about(draws(n, 0.0), -2, 2)) == Place.INSIDE) for n in (3, 5, 10)]
    above = [np.mean(place(about(draws(n, 3.5), -2, 2)) == Place.ABOVE) for n in (3, 5, 10)]
    for rates in (inside, above):
        assert rates[0] + 0.1 < rates[1] < rates[2] and rates[2] > 0.9


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_margin_in_shares_of_another_mean_keeps_the_level(n):
    """The other mean is not known either: ours is at 1.2 times it, the limit, and both scatter and depend."""
    rng = np.random.default_rng([7, n])
    shared, own = rng.normal(0, 0.05, (2, n, REPEATS))
    other = 1 + shared
    ours = 1.2 * (1 + 0.5 * shared) + own
    found = place(evidence(ours - 0.8 * other, ours - 1.2 * other))
    assert at_most(np.mean(found == Place.INSIDE), LEVEL)
    assert at_most(np.mean(found == Place.ABOVE), LEVEL / 2)


def test_skewed_replicates_exceed_the_level_a_little():
    """Replicates are hardly normal: lognormal ones with a coefficient of variation of 0.2 cost two percent at most."""
    rates = []
    for n in (3, 5, 10):
        x = np.random.default_rng([9, n]).lognormal(0, 0.2, (n, REPEATS))
        mean = np.exp(0.2**2 / 2)
        rates += [np.mean(place(about(x, *at)) == Place.INSIDE) for at in ((mean, mean + 10), (mean - 10, mean))]
    assert LEVEL < max(rates) < 0.08, "docs/verdicts.md says at most 0.075"
