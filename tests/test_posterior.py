"""Metrics of the posterior: exact values for moments that are written down, and a reference built from chains."""

import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from hsivi.checkpoint import Session
from hsivi.config import ROOT
from hsivi.data.conditioned_diffusion import ConditionedDiffusionData
from hsivi.data_config import PosteriorData
from hsivi.metrics.posterior import PosteriorReference, effective_states
from hsivi.summary import summarise

TRUTH = np.diag([1.0, 4.0, 9.0])
NAMES = ("covariance_frobenius", "covariance_frobenius_hmc", "mean_rmse", "variance_ratio")


def reference() -> PosteriorReference:
    floor = {name: (0.1 * i, 0.01) for i, name in enumerate(NAMES)}
    facts = {"num_samples": 50, "floor": floor}
    states = np.zeros((2, 3), np.float32)
    return PosteriorReference(np.zeros(3), TRUTH, np.ones(3), TRUTH + np.eye(3), states, facts)


def config(**values: Any) -> PosteriorData:
    chains = {"chains": 2000, "burn_in": 400, "snapshots": 2, "thinning": 100, "step_size": 1e-4}
    fixed = {"kind": "posterior", "datasets": ("conditioned_diffusion",), "seed": 5, "check_draws": 2000}
    return PosteriorData(**(fixed | chains | {"floor_pairs": 4} | values))


def test_exact_values() -> None:
    mean, covariance = np.array([[1.0, 2.0, -6.0]]), (TRUTH + np.ones((3, 3)))[None]
    measured = reference().measure({"mean": mean, "covariance": covariance}, seed=7)
    values = {m.metric: m.value for m in measured}
    assert values.keys() == set(NAMES)
    assert values["covariance_frobenius"] == pytest.approx(3)  # nine ones
    assert values["covariance_frobenius_hmc"] == pytest.approx(math.sqrt(6))  # but for the diagonal
    assert values["mean_rmse"] == pytest.approx(math.sqrt((1 + 1 + 4) / 3))
    assert values["variance_ratio"] == pytest.approx((2 + 5 / 4 + 10 / 9) / 3)
    for i, measurement in enumerate(measured):
        assert (measurement.seed, measurement.num_samples, measurement.standard_error) == (7, 50, None)
        assert (measurement.floor, measurement.floor_std) == (pytest.approx(0.1 * i), 0.01)


def test_sets_are_averaged() -> None:
    means, covariances = np.zeros((2, 3)), np.stack([TRUTH, TRUTH + np.ones((3, 3))])
    first = reference().measure({"mean": means, "covariance": covariances}, seed=0)[0]
    assert first.value == pytest.approx(1.5)
    assert first.standard_error == pytest.approx(1.5)  # of 0 and 3


def test_summary_is_of_all_samples() -> None:
    samples = np.random.default_rng(0).standard_normal((2, 3, 2500, 4)).astype(np.float32) + 5
    found = summarise("moments", samples)
    assert list(summarise("all", samples)) == ["samples"]
    assert found["samples"].shape == (2, 3, 2000, 4)
    assert found["mean"].shape == (2, 3, 4) and found["covariance"].shape == (2, 3, 4, 4)
    assert found["mean"].dtype == found["covariance"].dtype == np.float64
    one = samples[1, 2].astype(np.float64)
    np.testing.assert_allclose(found["mean"][1, 2], one.mean(0), rtol=1e-12)
    away = one - one.mean(0)
    np.testing.assert_allclose(found["covariance"][1, 2], away.T @ away / 2499, rtol=1e-12)
    assert np.array_equal(found["samples"][1, 2], samples[1, 2, :2000])


@pytest.fixture(scope="module")
def built() -> tuple[PosteriorReference, ConditionedDiffusionData]:
    whole = ConditionedDiffusionData.simulate(3)
    data = ConditionedDiffusionData(whole.path[:20], whole.observations[:20])
    return PosteriorReference.build(config(), data, 500, Session("reference")), data


def test_built_reference(built: tuple[PosteriorReference, ConditionedDiffusionData]) -> None:
    found, data = built
    facts = found.metadata()
    assert found.states.shape == (2000, 20)
    assert facts["langevin_states"] == 4000 and 2000 < facts["langevin_effective_states"] < 4000
    assert facts["distance"].keys() == {"langevin_hmc", "langevin_laplace", "hmc_laplace"}
    # Each is worth at least 2,000 draws, the reference floor is of 500; twice that for both being estimates.
    assert facts["distance"]["langevin_hmc"] < 2 * math.sqrt(2 * 500 / 2000) * facts["expected_floor"]
    assert 0.9 < found.facts["floor"]["variance_ratio"][0] < 1.1
    mean, spread = facts["floor"]["covariance_frobenius"]
    assert abs(mean / facts["expected_floor"] - 1) < 0.25 and 0 < spread < 0.2 * mean
    slowest = 1 / np.linalg.eigvalsh(data.laplace.covariance.numpy())[-1]
    assert facts["relaxation_iterations"] == pytest.approx(2 / (1e-4 * slowest))
    curve = facts["burn_in"]
    assert len(curve["iterations"]) == len(curve["variance_ratio"]) == len(curve["mean_rmse"])
    assert curve["variance_ratio"][0] > 1.5 and curve["mean_rmse"][0] > 0.5  # starts at the base
    # The Hamiltonian draws know nothing of the chains; the chains' step adds about h / 4 of the curvature, a per cent.
    noise = curve["noise"]
    assert abs(curve["variance_ratio"][-1] - 1) < 5 * noise["variance_ratio"] + 0.01
    assert 0.5 * noise["mean_rmse"] < curve["mean_rmse"][-1] < 2 * noise["mean_rmse"]
    assert 0 < facts["step_bias"] < 0.02 * facts["norm"]["laplace"]
    assert 0.3 < facts["distance"]["langevin_hmc"] / facts["expected_distance_langevin_hmc"] < 2


def moments_of(data: ConditionedDiffusionData) -> dict[str, np.ndarray]:
    return summarise("moments", data.draw(500, "x")[None, None].astype(np.float32))


def test_restored_measures_the_same(built: tuple[PosteriorReference, ConditionedDiffusionData]) -> None:
    found, data = built
    restored = PosteriorReference.restore(found.arrays(), json.loads(json.dumps(found.metadata(), allow_nan=False)))
    stored = {name: array[0] for name, array in moments_of(data).items()}
    assert restored.measure(stored, 1) == found.measure(stored, 1)
    assert np.array_equal(restored.states, found.states)
    for measurement in found.measure(stored, 1):
        assert measurement.floor is not None and measurement.floor_std is not None
        assert abs(measurement.value - measurement.floor) < 6 * measurement.floor_std  # four sets, t-distributed


def test_measuring_needs_no_torch() -> None:
    code = (
        "import sys, numpy as np\n"
        "from hsivi.metrics.posterior import PosteriorReference\n"
        "from hsivi.summary import summarise\n"
        "one, many = np.ones(3), np.eye(3)\n"
        "arrays = dict(mean=one, covariance=many, hmc_mean=one, hmc_covariance=many, states=many)\n"
        "names = ['covariance_frobenius', 'covariance_frobenius_hmc', 'mean_rmse', 'variance_ratio']\n"
        "facts = {'num_samples': 9, 'floor': {name: (1.0, 1.0) for name in names}}\n"
        "stored = summarise('moments', np.random.default_rng(0).standard_normal((1, 2, 9, 3)))\n"
        "PosteriorReference.restore(arrays, facts).measure({k: v[0] for k, v in stored.items()}, 0)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_expected_floor_is_the_error_of_a_gaussian_sample() -> None:
    """E ||S - Sigma||_F^2 = (tr^2 + ||Sigma||_F^2) / (n - 1) for n Gaussian draws."""
    rng, n = np.random.default_rng(0), 200
    factor = rng.standard_normal((6, 6))
    covariance = factor @ factor.T
    squares = [
        np.square(np.cov(rng.standard_normal((n, 6)) @ factor.T, rowvar=False) - covariance).sum() for _ in range(400)
    ]
    expected = (np.trace(covariance) ** 2 + np.square(covariance).sum()) / (n - 1)
    assert abs(np.mean(squares) - expected) < 5 * np.std(squares) / 20


def test_effective_states() -> None:
    assert effective_states(config(snapshots=1, thinning=1), 100.0) == 2000
    assert effective_states(config(snapshots=5, thinning=100_000), 100.0) == pytest.approx(10_000)
    # An autoregression: the variance of the mean square of five snapshots over many chains.
    correlation, rng = (1 - 0.5 * 1e-4 * 100.0) ** 100, np.random.default_rng(0)
    x = [rng.standard_normal(200_000)]
    for _ in range(4):
        x.append(correlation * x[-1] + math.sqrt(1 - correlation**2) * rng.standard_normal(200_000))
    worth = 2 / np.square(x).mean(0).var()  # independent snapshots that a chain's five are worth
    assert effective_states(config(snapshots=5, thinning=100, chains=1), 100.0) == pytest.approx(worth, rel=0.03)
