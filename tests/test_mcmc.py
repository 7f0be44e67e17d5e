"""Markov chain steps against closed forms on Gaussians, and invariance of a mixture."""

import math

import pytest
import torch
from torch import Tensor

from hsivi.mcmc import hmc_step, langevin_step
from hsivi.target import GaussianMixture
from tests.oracles import MEANS, VARIANCES, WEIGHTS, assert_mean, mixture
from tests.targets import NORMAL, PRECISION

pytestmark = pytest.mark.usefixtures("float64")


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=source(seed))


# ------------------------------------------------------------------------------------------------------------- Langevin
def test_langevin_step_by_hand() -> None:
    x, z = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, -1.0]])
    moved = langevin_step(x, lambda x: -3 * x, z, 0.04)
    torch.testing.assert_close(moved, torch.tensor([[1 - 0.02 * 3 + 0.2 * 0.5, 2 - 0.02 * 6 - 0.2]]))


def test_stationary_covariance_of_unadjusted_langevin() -> None:
    """The step is affine, x -> G x + sqrt(h) z: (A - (h / 4) A^2)^{-1} is its fixed point to machine precision."""
    h, identity = 0.3, torch.eye(3)
    biased = torch.linalg.inv(PRECISION - h / 4 * PRECISION @ PRECISION)
    gain = langevin_step(identity, lambda x: -x @ PRECISION, torch.zeros(3, 3), h)
    spread = langevin_step(torch.zeros(3, 3), NORMAL.score, identity, h) - langevin_step(
        torch.zeros(3, 3), NORMAL.score, torch.zeros(3, 3), h
    )
    torch.testing.assert_close(gain.mT @ biased @ gain + spread.mT @ spread, biased, rtol=1e-13, atol=1e-13)
    assert (biased - NORMAL.covariance).norm() > 0.05 * NORMAL.covariance.norm()


def test_langevin_chains_reach_the_stationary_moments() -> None:
    h, n = 0.3, 40_000
    x, draws = torch.zeros(n, 3), source(1)
    for _ in range(80):
        x = langevin_step(x, NORMAL.score, torch.randn(n, 3, generator=draws), h)
    biased = torch.linalg.inv(PRECISION - h / 4 * PRECISION @ PRECISION)
    away = x - NORMAL.mean
    assert_mean(x, NORMAL.mean)
    assert_mean((away[:, :, None] * away[:, None, :]).flatten(1), biased.flatten())


# ---------------------------------------------------------------------------------------------- Hamiltonian Monte Carlo
def test_one_leapfrog_by_hand() -> None:
    """On N(0, 1 / a): half a kick, a drift, half a kick; acceptance is exp of the energy lost."""
    a, e, q, p = 2.5, 0.7, 0.3, 1.3
    half = p - 0.5 * e * a * q
    moved = q + e * half
    after = half - 0.5 * e * a * moved
    lost = 0.5 * (a * q**2 + p**2) - 0.5 * (a * moved**2 + after**2)
    expected = min(1.0, math.exp(lost))
    assert 0.1 < expected < 0.95
    for uniform, end in ((expected - 1e-9, moved), (expected + 1e-9, q)):
        x, acceptance = hmc_step(
            torch.tensor([q]), lambda x: -0.5 * a * x.square().sum(-1), lambda x: -a * x, torch.tensor([p]),
            torch.tensor(uniform), e, 1,
        )  # fmt: skip
        torch.testing.assert_close(x, torch.tensor([end]))
        torch.testing.assert_close(acceptance, torch.tensor(expected))


def test_a_trajectory_turns_in_phase_space() -> None:
    """On N(0, 1), many small steps over a quarter turn end at the momentum."""
    p = noise(6, 4)
    x, acceptance = hmc_step(
        noise(6, 4, seed=1), lambda x: -0.5 * x.square().sum(-1), lambda x: -x, p, torch.zeros(6), math.pi / 2000, 1000
    )
    torch.testing.assert_close(x, p, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(acceptance, torch.ones(6), rtol=1e-5, atol=0)


def test_hamiltonian_chains_reach_the_target() -> None:
    n, draws = 40_000, source(2)
    x, total = torch.zeros(n, 3), 0.0
    for _ in range(30):
        momentum, uniform = torch.randn(n, 3, generator=draws), torch.rand(n, generator=draws)
        x, acceptance = hmc_step(x, NORMAL.log_prob, NORMAL.score, momentum, uniform, 0.6, 3)
        total += float(acceptance.mean()) / 30
    away = x - NORMAL.mean
    assert 0.5 < total < 0.95  # so that a missing correction would show
    assert_mean(x, NORMAL.mean)
    assert_mean((away[:, :, None] * away[:, None, :]).flatten(1), NORMAL.covariance.flatten())


def test_a_mixture_is_left_invariant_by_coarse_steps() -> None:
    target, law, n, draws = GaussianMixture(MEANS, VARIANCES, WEIGHTS), mixture(1.0), 100_000, source(3)
    component = torch.multinomial(WEIGHTS, n, replacement=True, generator=draws)
    x = MEANS[component] + VARIANCES[component].sqrt()[:, None] * torch.randn(n, 2, generator=draws)
    start = x
    for _ in range(4):
        momentum, uniform = torch.randn(n, 2, generator=draws), torch.rand(n, generator=draws)
        x, acceptance = hmc_step(x, target.log_prob, target.score, momentum, uniform, 0.5, 3)
    assert 0.3 < acceptance.mean() < 0.9
    assert ((x - start).norm(dim=-1) > 0.1).double().mean() > 0.7  # and it does move
    assert_mean(x, law.mean)
    assert_mean((x - law.mean).square(), law.variance)
    assert_mean(target.log_prob(x), float(law.log_prob(start).mean()), k=7.1)  # 5 sqrt(2): both sides are estimates


def test_any_batch_and_a_step_size_for_each_chain() -> None:
    x, momentum, uniform = noise(2, 5, 3), noise(2, 5, 3, seed=1), torch.rand(2, 5, generator=source())
    sizes = torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0])
    together = hmc_step(x, NORMAL.log_prob, NORMAL.score, momentum, uniform, sizes, 2)
    assert together[0].shape == (2, 5, 3) and together[1].shape == (2, 5)
    for k, size in enumerate(sizes.tolist()):
        alone = hmc_step(x[:, k], NORMAL.log_prob, NORMAL.score, momentum[:, k], uniform[:, k], size, 2)
        torch.testing.assert_close((together[0][:, k], together[1][:, k]), alone)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_proposal_that_is_not_finite_is_rejected(bad: float) -> None:
    """A wall at 1, behind which neither density nor score means anything."""
    x, momentum = torch.tensor([[0.5], [0.5]]), torch.tensor([[3.0], [-1.0]])
    moved, acceptance = hmc_step(
        x,
        lambda x: torch.where(x > 1, bad, -0.5 * x.square()).sum(-1),
        lambda x: torch.where(x > 1, bad, -x),
        momentum,
        torch.zeros(2),
        0.3,
        2,
    )
    assert acceptance[0] == 0 and moved[0] == 0.5
    assert acceptance[1] > 0.9 and moved[1] < 0.2
