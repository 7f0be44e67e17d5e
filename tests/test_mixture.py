"""The ring of Gaussians and its metrics: geometry, densities, closed forms, and what the metrics must detect."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from hsivi.config import ROOT
from hsivi.data.mixture import Mixture
from hsivi.data_config import MixtureData
from hsivi.metrics.mixture import MixtureReference
from hsivi.schedule import LinearBetaSchedule, QuadraticSchedule
from tests.oracles import assert_mean

N = 10_000
RING = Mixture.ring()
UNEQUAL = Mixture(
    np.array([[-6.0, 1.0], [2.0, 5.0], [4.0, -7.0]]), np.array([0.25, 1.0, 2.25]), np.array([0.5, 0.2, 0.3])
)
"""No symmetry of the plane maps it to itself, so a swapped axis or a mixed-up mode shows."""
POINTS = 12 * np.random.default_rng(0).uniform(-1, 1, (400, 2))


def density(mixture: Mixture, x: np.ndarray) -> np.ndarray:
    parts = zip(mixture.means, mixture.variances, mixture.weights, strict=True)
    return sum(w * multivariate_normal(m, v * np.eye(2)).pdf(x) for m, v, w in parts)


# ----------------------------------------------------------------------------------------------------------- the target
def test_the_ring_has_eight_equal_modes_an_eighth_of_a_turn_apart():
    assert np.allclose(np.linalg.norm(RING.means, axis=1), 10, atol=1e-12)
    assert np.allclose(RING.means[1], [0, 10], atol=1e-12)  # i = 2: a quarter of a turn
    assert np.allclose(RING.means[7], [10, 0], atol=1e-12)  # i = 8: a full turn
    half = np.sqrt(0.5) * 10
    assert np.allclose(RING.means[0], [half, half], atol=1e-12)
    neighbours = np.linalg.norm(RING.means - np.roll(RING.means, 1, 0), axis=1)
    assert np.allclose(neighbours, 20 * np.sin(np.pi / 8), atol=1e-12)
    assert (RING.variances == 1).all()
    assert (RING.weights == 1 / 8).all()
    assert RING.event_shape == (2,)


@pytest.mark.parametrize("mixture", [RING, UNEQUAL], ids=["ring", "unequal"])
def test_the_log_density_is_scipys(mixture):
    assert np.allclose(mixture.log_density(POINTS), np.log(density(mixture, POINTS)), rtol=1e-10, atol=1e-10)
    grid = POINTS.reshape(20, 20, 2)
    assert np.array_equal(mixture.log_density(grid), mixture.log_density(POINTS).reshape(20, 20))
    assert np.isfinite(mixture.log_density(np.array([[1e4, -1e4]]))).all()  # where the density underflows


@pytest.mark.parametrize("mixture", [RING, UNEQUAL], ids=["ring", "unequal"])
def test_draws_have_the_moments_of_the_mixture(mixture):
    x = torch.from_numpy(mixture.draw(100_000, 1, "moments"))
    weights, means = mixture.weights, mixture.means
    second = np.einsum("k,ki,kj->ij", weights, means, means) + np.diag(2 * [weights @ mixture.variances])
    assert_mean(x, torch.from_numpy(weights @ means), what="mean")
    assert_mean(x[:, :, None] * x[:, None], torch.from_numpy(second), what="second moments")


def test_a_draw_depends_on_its_key_alone():
    first = RING.draw(50, 1, "floor", 0)
    assert np.array_equal(first, Mixture.ring().draw(50, 1, "floor", 0))
    assert first.shape == (50, 2)
    assert first.dtype == np.float64
    for key in [(2, "floor", 0), (1, "measure", 0), (1, "floor", 1), (1, "floor")]:
        assert not np.isin(RING.draw(50, *key), first).any()


def test_the_unit_ring_is_the_ring_in_other_units():
    unit = Mixture.unit_ring()
    scale = np.sqrt(51)  # per axis 1 within modes, 100 / 2 between them
    np.testing.assert_allclose(unit.means * scale, RING.means, rtol=0, atol=1e-12)
    np.testing.assert_allclose(unit.variances, 1 / 51, rtol=1e-14)
    assert np.array_equal(unit.weights, RING.weights)
    np.testing.assert_allclose(unit.draw(1000, 3) * scale, RING.draw(1000, 3), rtol=0, atol=1e-12)
    np.testing.assert_allclose(unit.draw(200_000, 5).var(0), 1, atol=5 * np.sqrt(2 / 200_000))


@pytest.mark.parametrize("schedule", [QuadraticSchedule(), LinearBetaSchedule()], ids=["quadratic", "linear_beta"])
@pytest.mark.parametrize("at", [0.0, 0.3, 0.8])
def test_the_exact_score_is_that_of_the_diffused_mixture(schedule, at):
    """u_s has modes N(sqrt(alpha_bar) mu, alpha_bar v + sigma^2); its gradient by autograd, through scipy's density."""
    unit = Mixture.unit_ring()
    s = torch.tensor(schedule.lowest + at * (schedule.highest - schedule.lowest), dtype=torch.float64).round(decimals=2)
    alpha_bar = float(schedule.alpha_bar(s))
    diffused = Mixture(unit.means * alpha_bar**0.5, unit.variances * alpha_bar + 1 - alpha_bar, unit.weights)
    x = torch.from_numpy(diffused.draw(50, 1)).requires_grad_()
    means, variances = torch.from_numpy(diffused.means), torch.from_numpy(diffused.variances)
    distance = (x[:, None] - means).square().sum(-1)
    log_density = torch.logsumexp(-distance / (2 * variances) - variances.log(), -1)
    (gradient,) = torch.autograd.grad(log_density.sum(), x)
    model = unit.exact_score_model(schedule)
    score = model.score(x.detach().float(), s)
    assert score.dtype == torch.float32
    torch.testing.assert_close(score.double(), gradient, rtol=1e-4, atol=1e-4)  # float32


def test_a_stored_mixture_is_the_same():
    stored = Mixture.restore({key: array.copy() for key, array in UNEQUAL.arrays().items()})
    assert np.array_equal(stored.draw(20, 3), UNEQUAL.draw(20, 3))
    assert np.array_equal(stored.log_density(POINTS), UNEQUAL.log_density(POINTS))


def test_what_is_no_mixture_is_refused():
    with pytest.raises(ValueError, match=r"got means, variances and weights of shapes \(8, 2\), \(7,\), \(8,\)"):
        Mixture(RING.means, np.ones(7), RING.weights)
    with pytest.raises(ValueError, match="weights that sum to one"):
        Mixture(RING.means, RING.variances, np.full(8, 0.1))
    with pytest.raises(ValueError, match="expected positive numbers"):
        Mixture(RING.means, -RING.variances, RING.weights)


@pytest.mark.parametrize("mixture", [RING, UNEQUAL], ids=["ring", "unequal"])
def test_what_methods_are_given_agrees_with_the_density(mixture, float64):
    x = torch.from_numpy(POINTS)
    target = mixture.target
    assert target.means.dtype == target.variances.dtype == target.weights.dtype == torch.float32
    # Parameters are rounded to float32: an error of up to 1e-6 in a centre, times distances of up to 20 sigma / var.
    assert np.allclose(target.log_prob(x).numpy(), mixture.log_density(POINTS), atol=1e-3)
    assert np.allclose(target.score(x).numpy(), slope(mixture, POINTS), atol=1e-3)
    clean = mixture.diffused.score(x, torch.zeros(()))
    assert np.allclose(clean.numpy(), slope(mixture, POINTS), atol=1e-3)
    keep = 0.6  # alpha_bar at s = sqrt(0.4)
    noised = Mixture(keep**0.5 * mixture.means, keep * mixture.variances + 0.4, mixture.weights)
    score = mixture.diffused.score(x, torch.tensor(0.4**0.5))
    assert np.allclose(score.numpy(), slope(noised, POINTS), atol=1e-3)
    standard = multivariate_normal(np.zeros(2)).logpdf(POINTS)
    assert np.allclose(mixture.base.log_prob(x).numpy(), standard, atol=1e-5)


def slope(mixture: Mixture, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    steps = h * np.eye(2)
    return np.stack([(mixture.log_density(x + e) - mixture.log_density(x - e)) / (2 * h) for e in steps], -1)


def test_measuring_needs_no_torch():
    code = (
        "import sys; from hsivi.data.mixture import Mixture; from hsivi.metrics.mixture import MixtureReference\n"
        "m = Mixture.restore(Mixture.ring().arrays()); m.log_density(m.draw(10, 1)); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


# ---------------------------------------------------------------------------------------------------------- the metrics
def config(**changes: int) -> MixtureData:
    values = {"seed": 2023, "reference_draws": 400_000, "floor_pairs": 8} | changes
    return MixtureData(kind="mixture", datasets=("ring",), **values)


@pytest.fixture(scope="module")
def reference() -> MixtureReference:
    return MixtureReference.build(config(), RING, N)


def values(reference: MixtureReference, *sets: np.ndarray) -> dict[str, float]:
    return {m.metric: m.value for m in reference.measure({"samples": np.stack(sets)}, 1)}


def normal(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N, 2))


def in_modes(*modes: int, std: float = 1.0) -> np.ndarray:
    """Equally many samples in each of the modes named."""
    return RING.means[np.resize(modes, N)] + std * normal()


def test_exact_draws_lie_within_the_floor(reference):
    measured = reference.measure({"samples": np.stack([RING.draw(N, "exact", i) for i in range(4)])}, 1)
    assert len(measured) == 8
    for m in measured:
        error = m.floor_std * (1 / 4 + 1 / 8) ** 0.5  # four sets against a floor of eight
        assert abs(m.value - m.floor) <= 5 * error + 1e-12, m.metric
        assert m.num_samples == N


def test_floors_are_those_of_the_closed_forms(reference):
    floor = {name: mean for name, (mean, _) in reference.floor.items()}
    std = {name: sd / 8**0.5 for name, (_, sd) in reference.floor.items()}
    assert floor["modes_found"] == 8
    # The outer side of a disc: exp(-R^2 / 2) beyond R = 4, less what other discs cover between neighbours.
    assert 0.9 * np.exp(-8) - 5 * std["off_mode"] < floor["off_mode"] < np.exp(-8) + 5 * std["off_mode"]
    # A normal vector truncated at R has the variance 1 - (R^2 / 2) / (exp(R^2 / 2) - 1) on each axis.
    truncated = (1 - 8 / np.expm1(8)) ** 0.5
    assert abs(floor["within_mode_sd"] - truncated) < 5 * std["within_mode_sd"]
    # The mean absolute deviation of a binomial share, half of it summed over the modes.
    expected = 4 * (2 / np.pi * (1 / 8) * (7 / 8) / N) ** 0.5
    assert abs(floor["mode_weight_tv"] - expected) < 5 * std["mode_weight_tv"]
    # The extremes of eight shares of standard deviation 0.0033 are 1.42 of these from their mean.
    spread = 1.42 * ((1 / 8) * (7 / 8) / N) ** 0.5
    assert abs(floor["mode_weight_min"] - (1 / 8 - spread)) < 0.003
    assert abs(floor["mode_weight_max"] - (1 / 8 + spread)) < 0.003
    for name in ("js_cell", "log_density_gap"):
        assert abs(floor[name]) < 5 * std[name], name


def test_the_mean_log_density_of_the_target(reference):
    """Modes overlap too little to matter: -log 8 - log 2 pi - 1 nats."""
    assert abs(reference.log_density + np.log(8) + np.log(2 * np.pi) + 1) < 5 / 400_000**0.5 + 1e-3


def test_samples_all_in_one_mode(reference):
    got = values(reference, in_modes(3))
    assert got["modes_found"] == 1
    assert got["mode_weight_tv"] == pytest.approx(7 / 8, abs=1e-3)
    assert got["mode_weight_min"] == 0
    assert got["mode_weight_max"] == pytest.approx(1, abs=1e-3)
    assert got["within_mode_sd"] == pytest.approx(1, abs=0.02)
    assert got["off_mode"] < 0.002
    # JS of p and one of its eight equal parts, in closed form; rare cells are merged across modes, so a little is lost.
    exact = 0.5 * (np.log(2 / 9) / 8 + 7 / 8 * np.log(2) + np.log(16 / 9))
    assert exact - 0.02 < got["js_cell"] < exact
    assert got["log_density_gap"] == pytest.approx(0, abs=0.05)  # it does not see what is missing


def test_samples_in_two_modes_with_unequal_weights(reference):
    got = values(reference, in_modes(0, 0, 0, 5))
    assert got["modes_found"] == 2
    assert got["mode_weight_tv"] == pytest.approx(3 / 4, abs=1e-3)
    assert got["mode_weight_max"] == pytest.approx(3 / 4, abs=1e-3)


def test_a_mode_counts_from_a_quarter_of_its_weight(reference):
    for count, found in ((1 / 32 + 0.002, 8), (1 / 32 - 0.002, 7)):
        few = round(N * count)
        x = in_modes(*range(7), std=0.5)
        x[:few] = RING.means[7] + 0.5 * normal(1)[:few]
        assert values(reference, x)["modes_found"] == found


def test_a_mode_is_found_within_three_sigma(reference):
    for radius, found in ((2.99, 8), (3.01, 0)):
        outward = RING.means / 10
        got = values(reference, (RING.means + radius * outward)[np.arange(N) % 8] + 1e-6 * normal())
        assert got["modes_found"] == found
        assert ("within_mode_sd" in got) == (found > 0)
        assert got["off_mode"] == 0
    assert values(reference, (RING.means * 1.401)[np.arange(N) % 8])["off_mode"] == 1


def test_right_weights_but_half_the_width(reference):
    got = values(reference, in_modes(*range(8), std=0.5))
    assert got["modes_found"] == 8
    assert got["mode_weight_tv"] < 1e-12
    assert got["mode_weight_min"] == got["mode_weight_max"] == 1 / 8
    assert got["within_mode_sd"] == pytest.approx(0.5, abs=5 * 0.5 / (2 * 2 * N) ** 0.5)
    assert got["off_mode"] == 0
    assert got["log_density_gap"] == pytest.approx(-0.75, abs=0.02)  # -(1 - 0.5^2): half of E r^2 on two axes
    assert got["js_cell"] > 0.05


def test_too_wide_and_shifted_samples(reference):
    wide = values(reference, in_modes(*range(8), std=1.5))
    assert wide["within_mode_sd"] > 1.3
    assert wide["off_mode"] > 0.02
    assert wide["mode_weight_min"] > 0.12  # all samples count for some mode, however far
    assert wide["log_density_gap"] > 0.9  # 1.5^2 - 1 = 1.25, less where a neighbour is near
    shifted = values(reference, in_modes(*range(8)) + np.array([1.0, 0.0]))
    assert shifted["within_mode_sd"] == pytest.approx(1, abs=0.03)  # about the samples' own mean
    assert shifted["log_density_gap"] == pytest.approx(0.5, abs=0.06)
    assert shifted["js_cell"] > 0.05


def test_stragglers_do_not_widen_a_mode(reference):
    x = in_modes(*range(8))
    x[:400] = 1.9 * RING.means[3]
    got = values(reference, x)
    assert got["within_mode_sd"] == pytest.approx(1, abs=0.03)
    assert got["off_mode"] == pytest.approx(0.04, abs=0.002)
    assert got["mode_weight_max"] == pytest.approx(1 / 8 + 0.04 * 7 / 8, abs=1e-4)


def test_a_sample_between_modes_counts_for_the_nearest_alone(reference):
    """Points modes but for a share f of one mode's samples, set off by 3.7 towards its neighbour, 3.95 from that."""
    x = in_modes(*range(8), std=1e-4)
    towards = RING.means[1] - RING.means[0]
    x[:400] = RING.means[0] + 3.7 * towards / np.linalg.norm(towards)
    f = 400 / (400 + (N - 400) / 8)
    exact = (f * (1 - f) * 3.7**2 / 2 / 8) ** 0.5  # one of eight modes has a variance, on one axis of two
    assert values(reference, x)["within_mode_sd"] == pytest.approx(exact, rel=1e-3)


def test_each_axis_counts_in_the_width(reference):
    flat = in_modes(*range(8)) * 1.0
    flat[:, 1] = RING.means[np.arange(N) % 8, 1] + 0.2 * normal(2)[:, 1]
    assert values(reference, flat)["within_mode_sd"] == pytest.approx(((1 + 0.04) / 2) ** 0.5, abs=0.02)


def test_widths_and_weights_are_relative_to_each_mode():
    reference = MixtureReference.build(config(reference_draws=100_000, floor_pairs=2), UNEQUAL, N)
    x = UNEQUAL.draw(N, "exact")
    got = values(reference, x)
    assert got["within_mode_sd"] == pytest.approx(1, abs=0.03)
    assert got["mode_weight_tv"] < 0.03
    assert got["mode_weight_max"] == pytest.approx(0.5, abs=0.03)
    assert got["off_mode"] < 0.002
    assert values(reference, x[:, ::-1])["js_cell"] > 0.3
    unevenly = np.repeat([0, 1, 2], [N // 10, N * 4 // 10, N // 2])  # the first is a tenth, and half is right
    assert values(reference, UNEQUAL.means[unevenly] + 0.1 * normal())["modes_found"] == 2
    beside = UNEQUAL.means + 2 * np.array([[1.0, 0.0]])  # 4, 2 and 1.3 sigma off
    assert values(reference, beside[np.arange(N) % 3] + 1e-6 * normal())["modes_found"] == 2


def test_what_lies_at_the_origin_is_in_no_mode(reference):
    got = values(reference, normal())
    assert got["modes_found"] == 0
    assert got["off_mode"] > 0.99
    assert got["js_cell"] == pytest.approx(np.log(2), abs=0.01)
    assert "within_mode_sd" not in got  # rather than a number that means nothing


def test_sets_are_averaged_and_give_the_standard_error(reference):
    one, two = in_modes(0), in_modes(*range(4))
    measured = {m.metric: m for m in reference.measure({"samples": np.stack([one, two])}, 7)}
    first, second = values(reference, one), values(reference, two)
    for name in first:
        assert measured[name].value == pytest.approx((first[name] + second[name]) / 2)
        assert measured[name].standard_error == pytest.approx(abs(first[name] - second[name]) / 2)
        assert measured[name].seed == 7
    assert [m.standard_error for m in reference.measure({"samples": one[None]}, 7)] == [None] * len(measured)
    # A set without modes says nothing about their width; the other's value stands, without an error of its own.
    mixed = {m.metric: m for m in reference.measure({"samples": np.stack([one, normal()])}, 7)}
    assert mixed["within_mode_sd"].value == first["within_mode_sd"]
    assert mixed["within_mode_sd"].standard_error is None


def test_a_stored_reference_measures_the_same(reference):
    stored = MixtureReference.restore(RING, reference.arrays(), reference.metadata())
    samples = {"samples": RING.draw(2 * N, "stored").reshape(2, N, 2).astype(np.float32)}
    assert stored.measure(samples, 1) == reference.measure(samples, 1)


def test_what_is_not_finite_or_of_another_size_is_refused(reference):
    bad = in_modes(0)
    bad[5, 1] = np.nan
    with pytest.raises(ValueError, match="expected 10000 finite points"):
        reference.measure({"samples": bad[None]}, 1)
    with pytest.raises(ValueError, match="expected 10000 finite points"):
        reference.measure({"samples": bad[None, :100]}, 1)
