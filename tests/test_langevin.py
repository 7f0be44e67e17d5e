"""The Langevin ground truth: its step, its moments, and that neither threads nor interruptions change it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hsivi import langevin
from hsivi.checkpoint import Session
from hsivi.config import ROOT
from hsivi.data_config import PosteriorData
from hsivi.langevin import Langevin, LangevinBlock, Moments
from hsivi.mcmc import langevin_step
from hsivi.target import ConditionedDiffusion
from tests.targets import moments_of_two_points

Y = np.array([0.15, 0.4])
TARGET = ConditionedDiffusion(torch.from_numpy(Y).float())


def config(**values: Any) -> PosteriorData:
    small = {"chains": 23, "burn_in": 6, "snapshots": 3, "thinning": 4, "step_size": 1e-4}
    fixed = {"kind": "posterior", "datasets": ("conditioned_diffusion",), "seed": 5, "check_draws": 1000}
    return PosteriorData(**(fixed | small | {"floor_pairs": 2} | values))


@pytest.fixture
def blocks_of_five(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(langevin, "BLOCK", 5)
    monkeypatch.setattr(langevin, "KEPT", 12)


def run(threads: int = 1, **values: Any) -> Langevin:
    chains = Langevin(TARGET, config(**values), threads)
    Session("chains").train(chains, chains.blocks)
    return chains


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        same = torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
        assert same, name


def test_the_step_in_place_is_the_langevin_step() -> None:
    draws = torch.Generator().manual_seed(0)
    target = ConditionedDiffusion(torch.randn(9, generator=draws), step=0.03, noise_std=0.3)
    block = LangevinBlock(target, 4, step_size=1e-3)
    x = 1.5 * torch.randn(4, 9, generator=draws)
    block.x[:] = x.mT.numpy()
    x = x.double()
    for _ in range(5):
        noise = torch.randn(4, 9, generator=draws)
        block.noise[:] = noise.mT.numpy()
        block.advance()
        x = langevin_step(x, target.score, noise.double(), 1e-3)
        np.testing.assert_allclose(block.x.T, x.numpy(), rtol=0, atol=3e-6)


def test_moments_are_numpys_far_from_zero() -> None:
    points = 1e6 + np.random.default_rng(0).standard_normal((50, 3)) * [1, 2, 3]
    whole = Moments.of(points[:0])
    for part in (points[:7], points[7:7], points[7:8], points[8:]):
        whole = whole.merge(Moments.of(part))
    assert whole.count == 50
    np.testing.assert_allclose(whole.mean, points.mean(0), rtol=1e-14)
    np.testing.assert_allclose(whole.covariance, np.cov(points, rowvar=False), rtol=1e-8)


@pytest.mark.usefixtures("blocks_of_five")
def test_the_number_of_threads_changes_nothing() -> None:
    alone = run()
    assert alone.iteration == alone.blocks == 5
    assert alone.moments.count == 23 * 3
    for threads in (2, 3, 8):
        assert_same(run(threads).state_dict(), alone.state_dict())


@pytest.mark.usefixtures("blocks_of_five")
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    cut = Langevin(TARGET, config(), 2)
    step = cut.step

    def step_or_die() -> None:
        if cut.iteration == 2:
            raise Killed
        step()

    cut.step = step_or_die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        Session("cut", tmp_path / "cut", "x", interval=0.0).train(cut, cut.blocks)
    resumed = Langevin(TARGET, config(), 1)
    Session("cut", tmp_path / "cut", "x").train(resumed, resumed.blocks)
    whole = run()
    assert_same(resumed.state_dict(), whole.state_dict())
    for one, other in zip(resumed.burn_in_curve(), whole.burn_in_curve(), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.usefixtures("blocks_of_five")
def test_blocks_and_seeds_are_independent() -> None:
    states = run(snapshots=1).states
    assert states.shape == (12, 2)
    assert len(np.unique(states, axis=0)) == 12
    assert not np.isin(run(seed=6, snapshots=1).states, states).any()


@pytest.mark.usefixtures("blocks_of_five")
def test_what_is_watched_ends_at_the_last_snapshot() -> None:
    """With one snapshot, which is the last iteration, three ways to the same moments."""
    chains = run(snapshots=1, burn_in=30, chains=12)
    assert chains.watched_iterations[0] == 1 and chains.watched_iterations[-1] == 30
    means, variances = chains.burn_in_curve()
    assert len(means) == len(variances) == len(chains.watched_iterations)
    np.testing.assert_allclose(means[-1], chains.moments.mean, rtol=1e-6)
    np.testing.assert_allclose(variances[-1], np.diag(chains.moments.covariance), rtol=1e-6)
    np.testing.assert_allclose(chains.states.mean(0), chains.moments.mean, rtol=1e-6)
    assert chains.moments.count == 12


def test_snapshots_are_where_they_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains that count: a step adds one and there is no noise."""
    monkeypatch.setattr(LangevinBlock, "advance", lambda block: np.add(block.x, 1, out=block.x))
    still = ConditionedDiffusion(torch.zeros(2), noise_std=1e-6)
    chains = Langevin(still, config(chains=3, burn_in=6, snapshots=3, thinning=4), 1)
    chains.step()
    np.testing.assert_allclose(chains.moments.mean, (6 + 10 + 14) / 3, atol=1e-4)
    np.testing.assert_allclose(chains.states, 14, atol=1e-4)
    np.testing.assert_allclose(chains.burn_in_curve()[0][:, 0], chains.watched_iterations, atol=1e-4)


def test_the_chains_find_the_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two points, by quadrature; unadjusted steps widen it by h / 4, to first order."""
    monkeypatch.setattr(langevin, "BLOCK", 5_000)
    chains = run(chains=40_000, burn_in=600, snapshots=1, step_size=2e-4)
    means, variances = chains.burn_in_curve()
    _, mean, covariance = moments_of_two_points(Y)
    biased = covariance + 2e-4 / 4 * np.eye(2)
    n, found = 40_000, chains.moments.covariance
    assert (np.abs(chains.moments.mean - mean) < 5 * np.sqrt(np.diag(covariance) / n)).all()
    error = np.sqrt((np.outer(np.diag(biased), np.diag(biased)) + biased**2) / n)
    assert (np.abs(found - biased) < 5 * error).all()
    assert (np.abs(variances[0] - 0.01) < 0.0005).all()  # started at the base
    assert (np.abs(means[0] - Y) < 0.01).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the numbers overflow, which is the point
def test_too_large_a_step_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"expected step_size 0\.1 to be small enough; lower it") as caught:
        run(step_size=0.1, burn_in=200)
    assert "\n" not in str(caught.value)


def test_a_hundred_thousand_chains_fit_in_two_gigabytes() -> None:
    """Paper's number of chains, with few iterations: memory is that of a block, whatever their number."""
    code = (
        "import resource\n"
        "from hsivi.data.conditioned_diffusion import ConditionedDiffusionData\n"
        "from hsivi.data_config import PosteriorData\n"
        "from hsivi.langevin import Langevin\n"
        "config = PosteriorData(kind='posterior', datasets=['conditioned_diffusion'], seed=1, chains=100_000,\n"
        "                       burn_in=2, step_size=1e-4, check_draws=1_000, floor_pairs=2)\n"
        "chains = Langevin(ConditionedDiffusionData.simulate(1).target, config, 2)\n"
        "while chains.iteration < chains.blocks:\n"
        "    chains.step()\n"
        "print(chains.moments.count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    count, kibibytes = map(int, done.stdout.split())
    assert count == 100_000
    assert kibibytes < 2 * 2**20
