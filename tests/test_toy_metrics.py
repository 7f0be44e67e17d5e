"""The metrics of 2-D samples: bounds, invariances, closed forms, nulls, and what they must detect."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma, polygamma

from hsivi.metrics import knn
from hsivi.metrics.cells import CellReference
from hsivi.metrics.sliced import SlicedReference
from tests.oracles import assert_mean

N = 2000
METRICS = [knn.jensen_shannon, knn.kullback_leibler]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal(n: int = N, seed: int = 0) -> np.ndarray:
    return rng(seed).standard_normal((n, 2))


def ring(n: int, seed: int) -> np.ndarray:
    """An asymmetric target: a noisy ellipse off the origin, three times denser on one side."""
    draw = rng(seed)
    angle = np.pi * (draw.random(n) + (draw.random(n) < 0.25))
    return np.stack([2 * np.cos(angle) + 0.5, np.sin(angle)], 1) + 0.1 * draw.standard_normal((n, 2))


# --------------------------------------------------------------------------------------------------- nearest neighbours
def cap(n: int) -> float:
    return float(np.log((2 * n - 1) / (n - 1)))


@given(st.integers(4, 60), st.integers(1, 3), st.floats(0, 3), st.floats(-3, 0.5), st.integers(0, 1000))
def test_jensen_shannon_never_exceeds_its_cap(n, k, shift, log_scale, seed):
    x, y = normal(n, seed), shift + 10**log_scale * normal(n, seed + 1)
    assert knn.jensen_shannon(x, y, k) <= cap(n) + 1e-12


def test_disjoint_samples_have_the_cap():
    assert abs(knn.jensen_shannon(normal(), normal(seed=1) + 1e6) - cap(N)) < 1e-9
    assert abs(cap(10_000) - 0.693197) < 5e-7  # just above ln 2


def test_a_sample_against_itself_is_negative():
    """Every point has a copy in the pool, so its third neighbour there is its first in the sample.

    The difference of the two distances' mean logarithms is psi(1) - psi(3), with the deviation of one neighbour's
    log-distance, sqrt(psi'(1) / n), as a bound on the error.
    """
    x = normal(10_000)
    exact = np.log(2) + digamma(1) - digamma(3)
    assert abs(exact + 0.807) < 5e-4
    assert abs(knn.jensen_shannon(x, x) - exact) < 5 * np.sqrt(polygamma(1, 1) / 10_000)


def test_jensen_shannon_is_symmetric_and_scale_free():
    x, y = ring(N, 0), normal()
    value = knn.jensen_shannon(x, y)
    assert abs(value - knn.jensen_shannon(y, x)) < 1e-12
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    for factor in (1e-6, 1e6):
        assert abs(value - knn.jensen_shannon(factor * x @ turn + factor, factor * y @ turn + factor)) < 1e-9
    assert value > 0.2  # and it does tell them apart


def test_entropy_of_a_gaussian():
    exact = 1 + np.log(2 * np.pi)
    assert abs(exact - 2.838) < 5e-4
    values = torch.tensor([knn.entropy(normal(10_000, seed)) for seed in range(4)])
    # The deviation of one value is sqrt(psi'(3) / n + 1 / n) = 0.012; the bias at this size is below that.
    assert (values - exact).abs().max() < 3 * 0.012
    assert abs(values.mean() - exact) < 0.02


def test_entropy_of_a_uniform_square_in_other_units():
    # H(U[0, 4]^2) = ln 16; edges bias by about k / sqrt(n), 0.01 here.
    assert abs(knn.entropy(4 * rng().random((20_000, 2))) - np.log(16)) < 0.03


def test_kullback_leibler_of_gaussians_has_the_right_direction():
    """KL(p || q) for p inside q, where the estimator's bias is small (0.01 here), and its unequal reverse."""
    mean, scale = np.array([0.4, -0.2]), np.array([0.5, 0.3])
    exact = float((-np.log(scale) + (scale**2 + mean**2 - 1) / 2).sum())
    reverse = float((np.log(scale) + (1 + mean**2) / (2 * scale**2) - 0.5).sum())
    pairs = [(mean + scale * normal(5000, 2 * i), normal(5000, 2 * i + 1)) for i in range(12)]
    values = torch.tensor([knn.kullback_leibler(x, y) for x, y in pairs])
    assert abs(float(values.mean()) - exact) < 5 * float(values.std()) / 12**0.5 + 0.01
    assert reverse > 4 * exact  # estimates of it fall short, as p has no points in the tails of q
    assert np.mean([knn.kullback_leibler(y, x) for x, y in pairs]) > 1.5 * exact


def test_two_draws_of_one_target_differ_by_the_floor():
    # One value's deviation is sqrt(psi'(3) / n) = 0.0063 at n = 10,000; the bias on hard targets is below 0.01.
    values = [knn.jensen_shannon(ring(10_000, 2 * i), ring(10_000, 2 * i + 1)) for i in range(3)]
    assert np.abs(values).max() < 5 * 0.0063 + 0.01


def test_what_is_no_pair_of_samples_is_refused():
    x, y = normal(), normal(seed=1)
    infinite, copies = y.copy(), y.copy()
    infinite[3, 1] = np.nan
    copies[:4] = copies[0]  # three exact copies of a point
    for metric in METRICS:
        with pytest.raises(ValueError, match=r"got samples of shapes \(2000, 2\) and \(1999, 2\)"):
            metric(x, y[1:])
        with pytest.raises(ValueError, match="expected two finite samples"):
            metric(x, infinite)
        with pytest.raises(ValueError, match="exact copies"):
            metric(copies, x)
    with pytest.raises(ValueError, match="exact copies"):
        knn.jensen_shannon(x, copies)


# ---------------------------------------------------------------------------------------------------------------- cells
@pytest.fixture(scope="module")
def cells() -> CellReference:
    return CellReference.build(ring(1_000_000, 100), 10_000, rng(1))


def test_js_cell_is_zero_in_the_mean_on_the_target(cells):
    results = [cells.evaluate(ring(10_000, seed)) for seed in range(40)]
    z = torch.tensor([r["js_cell_z"] for r in results])
    # The reference's own error adds n / N = 1 % to the mean of raw: 0.01 m0 / s0 standard deviations.
    shift = 0.01 * cells.null_mean / cells.null_std
    assert_mean(z - shift, 0.0, k=4, what="z of js_cell")
    assert 0.6 < z.std() < 1.5  # 40 draws: 1 +- 4 / sqrt(80)
    values = [r["js_cell"] for r in results]
    assert min(values) < 0 < max(values)  # calibrated, not clipped


def test_js_cell_of_disjoint_samples_is_ln_2(cells):
    far = cells.evaluate(normal(10_000) + 100)
    assert far["off_support"] == 1
    assert np.log(2) - 0.001 < far["js_cell"] <= np.log(2)
    assert far["js_cell_raw"] <= np.log(2)


@settings(max_examples=15)
@given(st.floats(-5, 5), st.floats(-3, 1))
def test_js_cell_is_bounded(cells, shift, log_scale):
    result = cells.evaluate(shift + 10**log_scale * normal(10_000))
    assert 0 <= result["js_cell_raw"] <= np.log(2)
    assert result["js_cell"] <= np.log(2)


def test_js_cell_sees_three_percent_of_outliers(cells):
    sample = ring(10_000, 7)
    assert abs(cells.evaluate(sample)["js_cell_z"]) < 4
    outliers = rng(3).uniform([-1.9, -1.4], [2.9, 1.4], (300, 2))
    sample[:300] = outliers
    result = cells.evaluate(sample)
    assert result["js_cell_z"] > 5
    assert result["off_support"] > 0.01


def test_js_cell_sees_swapped_axes(cells):
    assert cells.evaluate(ring(10_000, 7)[:, ::-1].copy())["js_cell"] > 0.3


def test_js_cell_probabilities_and_groups(cells):
    assert abs(cells.probability.sum() - 1) < 1e-12
    assert (cells.probability[:-3] * 10_000 >= 5).all()
    assert cells.probability[-1] * 10_000 < 0.05 * cells.group.size
    assert cells.group.shape == (34, 34)
    assert set(cells.group.ravel()) <= set(range(len(cells.probability)))
    assert cells.group[0, 0] == len(cells.probability) - 1  # outside the box is off the support


def test_js_cell_refuses_other_sizes(cells):
    with pytest.raises(ValueError, match=r"got a sample of shape \(9999, 2\), expected 10000 finite"):
        cells.evaluate(normal(9999))
    bad = normal(10_000)
    bad[0, 0] = np.inf
    with pytest.raises(ValueError, match="expected 10000 finite"):
        cells.evaluate(bad)


# ------------------------------------------------------------------------------------------------------ sliced distance
@pytest.fixture(scope="module")
def sliced() -> SlicedReference:
    return SlicedReference.build(ring(400_000, 100), [ring(N, seed) for seed in range(20)])


def test_swd_of_a_shift_is_the_mean_projected_shift(sliced):
    angles = np.pi * np.arange(32) / 32
    for shift in (np.array([5.0, 0.0]), np.array([-2.0, 4.0])):
        exact = np.abs(shift @ [np.cos(angles), np.sin(angles)]).mean() - sliced.null_mean
        # Centring noise of projections: standard deviation at most 1.5 / sqrt(n) each.
        assert abs(sliced.evaluate(ring(N, 50) + shift) - exact) < 5 * 1.5 / N**0.5


def test_swd_is_zero_in_the_mean_on_the_target(sliced):
    values = torch.tensor([sliced.evaluate(ring(N, seed)) for seed in range(50, 90)])
    # null_mean is itself a mean over 20 draws, hence the factor sqrt(1 + 40 / 20) on the error.
    assert_mean(values, 0.0, k=4 * 3**0.5, what="swd_ref")


def test_swd_of_a_scaled_sample():
    """W1 between N(0, 1) and N(0, 4) is sqrt(2 / pi), along every direction."""
    reference = SlicedReference.build(normal(400_000, 1), [normal(N, seed) for seed in range(2, 7)])
    value = reference.evaluate(2 * normal(N, 9)) + reference.null_mean
    assert abs(value - np.sqrt(2 / np.pi)) < 5 * 2 / N**0.5


def test_swd_sees_three_percent_of_mass_moved_across(sliced):
    sample = ring(N, 7)
    nulls = [sliced.evaluate(ring(N, seed)) for seed in range(60, 70)]
    upper = np.flatnonzero(sample[:, 1] > 0.5)[: int(0.06 * N)]
    sample[upper, 1] *= -1
    assert sliced.evaluate(sample) > np.mean(nulls) + 3 * np.std(nulls)


def test_swd_refuses_other_sizes(sliced):
    with pytest.raises(ValueError, match=r"got a sample of shape \(10, 2\), expected \(2000, 2\)"):
        sliced.evaluate(normal(10))
