"""Targets: scores are gradients of log-densities, log-densities are normalised, and eq. (11) is what is coded."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from hsivi.gaussian import DiagonalGaussian
from hsivi.target import ConditionedDiffusion, GaussianMixture, Target, Whitened, placed
from tests.oracles import MEANS, VARIANCES, WEIGHTS, mixture
from tests.targets import moments_of_two_points

pytestmark = pytest.mark.usefixtures("float64")
MIXTURE = GaussianMixture(MEANS, VARIANCES, WEIGHTS)
OBSERVATIONS = torch.tensor([0.3, -0.4, 0.9, 1.2, -0.7, 0.1, 0.5], dtype=torch.float64)
DIFFUSION = ConditionedDiffusion(OBSERVATIONS, step=0.03, noise_std=0.25)
MIXTURE_BASE = DiagonalGaussian(
    torch.tensor([0.5, -1.0], dtype=torch.float64), torch.tensor([0.3, 2.5], dtype=torch.float64)
)
DIFFUSION_BASE = DiagonalGaussian(OBSERVATIONS, torch.linspace(0.1, 0.7, 7, dtype=torch.float64))
TARGETS: dict[str, Target] = {
    "mixture": MIXTURE,
    "diffusion": DIFFUSION,
    "whitened mixture": Whitened(MIXTURE, MIXTURE_BASE),
    "whitened diffusion": Whitened(DIFFUSION, DIFFUSION_BASE),
}


def points(target: Target, *batch: int) -> torch.Tensor:
    return 1.5 * torch.randn(*batch, *target.event_shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_score_is_the_gradient(target: Target, batch: tuple[int, ...]) -> None:
    x = points(target, *batch).requires_grad_(True)
    log_density = target.log_prob(x)
    assert log_density.shape == batch
    (gradient,) = torch.autograd.grad(log_density.sum(), x)
    torch.testing.assert_close(target.score(x), gradient, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_the_type_of_the_points_is_kept(target: Target) -> None:
    x = points(target, 4).float()
    assert target.log_prob(x).dtype == target.score(x).dtype == torch.float32
    torch.testing.assert_close(target.score(x).double(), target.score(x.double()), rtol=1e-4, atol=1e-3)


def constants(target: Any) -> list[torch.Tensor]:
    fields = [getattr(target, field.name) for field in dataclasses.fields(target)]
    inner = [constant for value in fields if dataclasses.is_dataclass(value) for constant in constants(value)]
    return [value for value in fields if isinstance(value, torch.Tensor)] + inner


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_a_placed_target_says_the_same_and_has_nothing_to_convert(target: Target) -> None:
    x = points(target, 4).float()
    ready = placed(target, x)
    assert torch.equal(ready.score(x), target.score(x))
    assert torch.equal(ready.log_prob(x), target.log_prob(x))
    assert {constant.dtype for constant in constants(target)} == {torch.float64}
    assert {constant.dtype for constant in constants(ready)} == {torch.float32}


def test_what_is_no_dataclass_stays_as_it_is_where_it_is_placed() -> None:
    own = object()
    assert placed(own, torch.ones(1)) is own
    assert placed(Whitened, torch.ones(1)) is Whitened


def test_mixture_is_torchs() -> None:
    x = points(MIXTURE, 50)
    torch.testing.assert_close(MIXTURE.log_prob(x), mixture(1.0).log_prob(x), rtol=1e-13, atol=1e-13)


def test_whitened_mixture_is_normalised() -> None:
    """The change of variables keeps the mass: exp(log_prob) sums to one on a grid of u."""
    axes = [torch.linspace(-16, 16, 700), torch.linspace(-3, 3, 700)]
    u = torch.cartesian_prod(*axes)
    cell = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
    total = TARGETS["whitened mixture"].log_prob(u).exp().sum() * cell
    torch.testing.assert_close(total, torch.tensor(1.0), rtol=1e-9, atol=0)


def test_whitening_and_back() -> None:
    whitened = Whitened(MIXTURE, MIXTURE_BASE)
    u = points(whitened, 5)
    assert whitened.event_shape == (2,)
    torch.testing.assert_close((whitened.restore(u) - MIXTURE_BASE.mean) / MIXTURE_BASE.std, u)


def test_conditioned_diffusion_is_the_chain_of_eq_11() -> None:
    x = points(DIFFUSION, 4).numpy()
    expected = []
    for path in x:
        before, total = 0.0, 0.0
        for value, observed in zip(path, OBSERVATIONS.numpy(), strict=True):
            drift = 10 * before * (1 - before**2)
            total += stats.norm.logpdf(value, before + drift * 0.03, np.sqrt(0.03))
            total += stats.norm.logpdf(observed, value, 0.25)
            before = value
        expected.append(total)
    torch.testing.assert_close(DIFFUSION.log_prob(torch.from_numpy(x)), torch.tensor(expected), rtol=1e-12, atol=0)


def test_joint_density_integrates_to_the_evidence() -> None:
    """With one point, p(y) = N(y; 0, step + noise_std^2); with two, a grid says."""
    x = torch.linspace(-2, 2, 4001)[:, None]
    single = ConditionedDiffusion(torch.tensor([0.2]))
    evidence = single.log_prob(x).exp().sum() * 1e-3
    assert abs(float(evidence) - stats.norm.pdf(0.2, 0, np.sqrt(0.02))) < 1e-10
    y = np.array([0.15, 0.4])
    axis = torch.linspace(-1, 1, 801)
    pairs = torch.cartesian_prod(axis, axis)
    total = ConditionedDiffusion(torch.from_numpy(y)).log_prob(pairs).exp().sum() * (axis[1] - axis[0]) ** 2
    assert abs(float(total) / moments_of_two_points(y)[0] - 1) < 1e-9
