"""The conditioned diffusion as a data set: its path, its observations, and exact draws of its posterior."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import torch

from hsivi.config import ROOT
from hsivi.data.conditioned_diffusion import CHAINS, ConditionedDiffusionData
from tests.targets import moments_of_two_points

DATA = ConditionedDiffusionData.simulate(2022)


def test_paths_follow_eq_11_and_observations_are_noisy() -> None:
    drive, noise = [], []
    for seed in range(20):
        data = ConditionedDiffusionData.simulate(seed)
        before = np.concatenate([[0.0], data.path[:-1]])
        drive.append((data.path - before - 0.01 * 10 * before * (1 - before**2)) / np.sqrt(0.01))
        noise.append((data.observations - data.path) / 0.1)
        assert np.abs(data.path).max() < 2.5  # held in the wells at -1 and 1
    for z in (np.concatenate(drive), np.concatenate(noise)):
        n = len(z)
        assert n == 6000
        assert abs(z.mean()) < 5 / n**0.5
        assert abs(z.var() - 1) < 5 * (2 / n) ** 0.5
        assert abs((z[1:] * z[:-1]).mean()) < 5 / n**0.5
    assert abs(np.corrcoef(np.concatenate(drive), np.concatenate(noise))[0, 1]) < 5 / 6000**0.5


def test_a_seed_is_a_data_set() -> None:
    again, other = ConditionedDiffusionData.simulate(2022), ConditionedDiffusionData.simulate(1)
    assert np.array_equal(again.path, DATA.path) and np.array_equal(again.observations, DATA.observations)
    assert not np.isin(other.observations, DATA.observations).any()


def test_restored_is_the_same() -> None:
    restored = ConditionedDiffusionData.restore(DATA.arrays())
    assert np.array_equal(restored.path, DATA.path) and np.array_equal(restored.observations, DATA.observations)
    assert restored.event_shape == (300,)


def test_what_methods_are_given() -> None:
    assert DATA.target.observations.dtype == torch.float32
    assert (DATA.target.step, DATA.target.noise_std) == (0.01, 0.1)
    torch.testing.assert_close(DATA.base.mean, DATA.target.observations)
    torch.testing.assert_close(DATA.base.std, torch.full((300,), 0.1))
    assert DATA.diffused is None


def test_opening_needs_no_torch() -> None:
    code = (
        "import sys, numpy as np\n"
        "from hsivi.data.conditioned_diffusion import ConditionedDiffusionData as C\n"
        "C.restore({'path': np.zeros(3), 'observations': np.ones(3)}).arrays()\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_draws_depend_on_their_key_alone() -> None:
    small = ConditionedDiffusionData(DATA.path[:5], DATA.observations[:5])
    draws = small.draw(CHAINS + 10, "a", 1)
    assert draws.shape == (CHAINS + 10, 5) and draws.dtype == np.float64
    assert np.array_equal(small.draw(7, "a", 1), draws[:7])
    assert len(np.unique(draws, axis=0)) == len(draws)
    assert not np.isin(small.draw(7, "a", 2), draws).any()


def test_draws_are_the_posterior_of_two_points() -> None:
    """By quadrature, with observations so far out that the Laplace approximation, where chains start, is wrong."""
    y = np.array([3.0, -1.5])
    data, n = ConditionedDiffusionData(y, y), 100 * CHAINS
    _, mean, covariance = moments_of_two_points(y)
    away = data.draw(n, "test") - mean
    assert (np.abs(away.mean(0)) < 5 * np.sqrt(np.diag(covariance) / n)).all()
    error = np.sqrt((np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2) / n)
    assert (np.abs(away.T @ away / n - covariance) < 5 * error).all()
    start = np.abs(data.laplace.mean.numpy() - mean) / np.sqrt(np.diag(covariance) / n)
    assert start.max() > 5


def test_a_wrong_start_is_forgotten() -> None:
    """Chains started three standard deviations off in the widest, the narrowest and a middle direction."""
    data, found, n = ConditionedDiffusionData.simulate(2022), DATA.laplace, 4 * CHAINS
    values, directions = (each[..., [0, 150, 299]] for each in torch.linalg.eigh(found.covariance))
    data.__dict__["laplace"] = replace(found, mean=found.mean + 3 * directions @ values.sqrt())
    draws = data.draw(n, "wrong")
    left = (torch.from_numpy(draws) - found.mean).mean(0) @ directions / values.sqrt()
    assert left.abs().max() < 3 * 0.75**10 + 5 / n**0.5


def test_chains_are_long_enough() -> None:
    """Four times as many steps change neither means nor variances, each summed over all 300 points."""
    n = 6 * CHAINS
    blocks, acceptances = zip(*DATA.hamiltonian(n, "short"), strict=True)
    short, long = np.concatenate(blocks), np.concatenate([x for x, _ in DATA.hamiltonian(n, "long", steps=40)])
    assert 0.7 < np.concatenate(acceptances).mean() < 0.95
    variance = long.var(0)
    z = (short.mean(0) - long.mean(0)) / np.sqrt(2 * variance / n)
    # Neighbouring points correlate over some ten steps, so 300 squares are worth about 40 independent ones.
    assert abs(np.mean(z**2) - 1) < 5 * np.sqrt(2 / 40)
    assert abs(np.mean(short.var(0) / variance) - 1) < 5 * np.sqrt(4 / n / 40)


def test_the_number_of_workers_changes_no_draw() -> None:
    n = 2 * CHAINS + 7
    alone, together = (list(DATA.hamiltonian(n, "workers", steps=2, workers=workers)) for workers in (1, 3))
    assert [len(x) for x, _ in alone] == [CHAINS, CHAINS, 7]
    for (x, acceptance), (y, probability) in zip(alone, together, strict=True):
        assert np.array_equal(x, y) and np.array_equal(acceptance, probability)
