"""Bridges: geometric ones against the Gaussian closed form and autograd, the diffusion bridge against a mixture."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from baselines.hsivi_sequential import _bridge
from hsivi.bridge import DiffusionBridge, GeometricBridge, geometric_weights
from hsivi.gaussian import DiagonalGaussian
from hsivi.problem import InferenceProblem
from hsivi.recipe import SequentialRecipe
from hsivi.schedule import QuadraticSchedule
from hsivi.score_model import GaussianMixtureScoreModel
from hsivi.target import ConditionedDiffusion, GaussianMixture, Whitened
from tests.oracles import MEANS, VARIANCES, WEIGHTS, GaussianTarget

pytestmark = pytest.mark.usefixtures("float64")

TARGET = GaussianTarget(
    torch.tensor([0.6, -0.9]).double(), torch.tensor([[0.5, 0.2], [0.2, 0.8]]).double(), log_evidence=1.3
)
BASE = DiagonalGaussian(torch.tensor([-1.0, 0.4]).double(), torch.tensor([1.5, 0.7]).double())
STEP, NOISE_STD = 0.02, 0.3


def points(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def autograd_score(log_prob, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(log_prob(x).sum(), x)[0]


def diffusion_target(dim: int = 6) -> ConditionedDiffusion:
    return ConditionedDiffusion(0.8 * points(dim, seed=5), STEP, NOISE_STD)


# ------------------------------------------------------------------------------------------------------------- weights
@pytest.mark.parametrize("ends_at_base", [False, True])
@given(st.integers(1, 40))
def test_weights_start_at_the_target_and_fall_evenly(ends_at_base, layers):
    weights = geometric_weights(layers, ends_at_base)
    assert weights.shape == (layers,)
    assert weights.dtype == torch.float64
    assert weights[0] == 1
    last = 0.0 if ends_at_base and layers > 1 else 1 / layers
    expected = [1 + (last - 1) * t / max(layers - 1, 1) for t in range(layers)]
    torch.testing.assert_close(weights, torch.tensor(expected), rtol=0, atol=1e-14)


def test_the_papers_weights():
    """Mixture: 1 - t / 5 (D.1); conditioned diffusion: its last distribution is the base."""
    torch.testing.assert_close(geometric_weights(5, False), torch.tensor([1.0, 0.8, 0.6, 0.4, 0.2]), rtol=0, atol=1e-15)
    torch.testing.assert_close(geometric_weights(3, True), torch.tensor([1.0, 0.5, 0.0]), rtol=0, atol=1e-15)


# ---------------------------------------------------------------------------------------------------- geometric bridge
@pytest.mark.parametrize("ends_at_base", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 5])
def test_between_gaussians_it_is_the_gaussian_with_weighted_precisions(layers, ends_at_base):
    """P_t = (1 - l) P_base + l P and P_t m_t = (1 - l) P_base m_base + l P m, from the definition of lambda_t."""
    bridge = GeometricBridge(TARGET, BASE, geometric_weights(layers, ends_at_base))
    assert bridge.num_layers == layers
    base_precision, precision = torch.diag(1 / BASE.std**2), TARGET.cov.inverse()
    x, y = points(7, 2), points(7, 2, seed=1)
    for t in range(layers):
        weight = 1 - t / (max(layers - 1, 1) if ends_at_base else layers)
        between = (1 - weight) * base_precision + weight * precision
        mean = torch.linalg.solve(between, (1 - weight) * base_precision @ BASE.mean + weight * precision @ TARGET.mean)
        index = torch.tensor(t)
        torch.testing.assert_close(bridge.score(x, index), (mean - x) @ between, rtol=1e-12, atol=1e-12)
        exact = MultivariateNormal(mean, precision_matrix=between)
        got, wanted = (p(x) - p(y) for p in (lambda u, i=index: bridge.log_prob(u, i), exact.log_prob))
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)  # the constant is not the same
        assert bridge.log_prob(x, index).shape == (7,)


def test_its_ends_are_the_target_and_the_base():
    x = points(5, 2)
    bridge = GeometricBridge(TARGET, BASE, geometric_weights(4, True))
    assert torch.equal(bridge.score(x, torch.tensor(0)), TARGET.score(x))
    assert torch.equal(bridge.log_prob(x, torch.tensor(0)), TARGET.log_prob(x))
    assert torch.equal(bridge.score(x, torch.tensor(3)), BASE.score(x))
    assert torch.equal(bridge.log_prob(x, torch.tensor(3)), BASE.log_prob(x))
    other = GeometricBridge(TARGET, BASE, geometric_weights(4, False))
    assert not torch.allclose(other.score(x, torch.tensor(3)), BASE.score(x))


def targets():
    base = DiagonalGaussian(torch.linspace(-0.5, 0.7, 6).double(), torch.linspace(0.4, 1.6, 6).double())
    plane = DiagonalGaussian(torch.tensor([0.3, -0.2]).double(), torch.tensor([1.2, 0.8]).double())
    ring = GaussianMixture(MEANS, VARIANCES, WEIGHTS)
    return {
        "mixture": (ring, plane, 2),
        "whitened mixture": (Whitened(ring, plane), DiagonalGaussian(torch.zeros(2), torch.ones(2)), 2),
        "conditioned diffusion": (diffusion_target(), base, 6),
        "whitened diffusion": (Whitened(diffusion_target(), base), base, 6),
    }


@pytest.mark.parametrize("name", ["mixture", "whitened mixture", "conditioned diffusion", "whitened diffusion"])
@pytest.mark.parametrize("ends_at_base", [False, True])
def test_score_is_the_gradient_of_the_log_density(name, ends_at_base):
    target, base, dim = targets()[name]
    bridge, x = GeometricBridge(target, base, geometric_weights(3, ends_at_base)), points(2, 5, dim)
    for t in map(torch.tensor, range(3)):
        wanted = autograd_score(lambda u, t=t: bridge.log_prob(u, t), x)
        torch.testing.assert_close(bridge.score(x, t), wanted, rtol=1e-10, atol=1e-10)


def test_for_the_conditioned_diffusion_the_prior_is_tempered():
    """With the likelihood as base, S_t = S_lik + lambda_t S_prior; both are written out here and differentiated."""
    target = diffusion_target()
    y, x = target.observations, 0.7 * points(5, 6)
    base = DiagonalGaussian(y, torch.full_like(y, NOISE_STD))
    bridge = GeometricBridge(target, base, geometric_weights(5, True))

    def log_prior(path):
        before = torch.cat([torch.zeros(len(path), 1), path[:, :-1]], 1)
        drift = 10 * before * (1 - before**2)
        return Normal(before + STEP * drift, math.sqrt(STEP)).log_prob(path).sum(-1)

    def log_likelihood(path):
        return Normal(path, NOISE_STD).log_prob(y).sum(-1)

    prior, likelihood = autograd_score(log_prior, x), autograd_score(log_likelihood, x)
    for t, weight in enumerate([1, 0.75, 0.5, 0.25, 0]):
        wanted = likelihood + weight * prior
        torch.testing.assert_close(bridge.score(x, torch.tensor(t)), wanted, rtol=1e-10, atol=1e-9)
        exact = log_likelihood(x) + weight * log_prior(x)
        torch.testing.assert_close(bridge.log_prob(x, torch.tensor(t)), exact, rtol=1e-11, atol=1e-11)


def test_a_geometric_bridge_broadcasts_layers_over_replicas_and_batch():
    bridge, x = GeometricBridge(TARGET, BASE, geometric_weights(3, False)), points(3, 4, 2)
    together = bridge.score(x, torch.arange(3)[:, None])
    densities = bridge.log_prob(x, torch.arange(3)[:, None])
    assert together.shape == x.shape
    assert densities.shape == (3, 4)
    for t in range(3):
        torch.testing.assert_close(together[t], bridge.score(x[t], torch.tensor(t)), rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(densities[t], bridge.log_prob(x[t], torch.tensor(t)), rtol=1e-14, atol=1e-14)


def test_a_geometric_bridge_keeps_the_type_of_its_argument():
    bridge, x = GeometricBridge(TARGET, BASE, geometric_weights(3, False)), points(4, 2).float()
    for value in (bridge.score(x, torch.tensor(1)), bridge.log_prob(x, torch.tensor(1))):
        assert value.dtype == torch.float32


# ---------------------------------------------------------------------------------------------------- diffusion bridge
RING = 10 * torch.stack([torch.tensor([math.cos(a), math.sin(a)]) for a in (math.pi / 4 * i for i in range(1, 9))])
RING = RING.double()


def noised_ring(alpha: float) -> MixtureSameFamily:
    centres = math.sqrt(alpha) * RING
    return MixtureSameFamily(Categorical(torch.ones(8)), Independent(Normal(centres, torch.ones_like(centres)), 1))


def ring_problem(nfe: int) -> InferenceProblem:
    variances, weights = torch.ones(8), torch.full((8,), 1 / 8)
    return InferenceProblem(
        nfe,
        (2,),
        lambda n, *key: torch.zeros(n, 2),
        target=GaussianMixture(RING, variances, weights),
        base=DiagonalGaussian(torch.zeros(2), torch.ones(2)),
        diffused=GaussianMixtureScoreModel(QuadraticSchedule(), RING, variances, weights),
    )


def diffusion_recipe() -> SequentialRecipe:
    rates = {"learning_rate": 1e-3, "critic_learning_rate": 1e-3}
    return SequentialRecipe(
        objective="sm", bridge="diffusion", hidden=(4,), critic_hidden=(4,), iterations=1, batch=2, **rates
    )


def test_the_diffusion_bridge_of_the_ring_moves_unit_gaussians_to_the_origin():
    """alpha_t = 1 - t / 5 (D.1): the centres shrink by its root and unit variance is kept."""
    bridge, x = _bridge(ring_problem(5), diffusion_recipe()), 6 * points(3, 40, 2)
    assert isinstance(bridge, DiffusionBridge)
    assert bridge.num_layers == 5
    for t in range(5):
        wanted = autograd_score(noised_ring(1 - t / 5).log_prob, x)
        torch.testing.assert_close(bridge.score(x, torch.tensor(t)), wanted, rtol=1e-9, atol=1e-9)
    # 1 - alpha_t = t / 5, zero at the data
    torch.testing.assert_close(bridge.noise_variance(), torch.arange(5) / 5, rtol=1e-14, atol=1e-14)


def test_with_one_layer_the_diffusion_bridge_is_the_target():
    problem, x = ring_problem(1), 6 * points(1, 10, 2)
    bridge = _bridge(problem, diffusion_recipe())
    assert bridge.num_layers == 1
    torch.testing.assert_close(bridge.score(x, torch.tensor(0)), problem.target.score(x), rtol=1e-12, atol=1e-12)


def test_a_diffusion_bridge_broadcasts_layers_over_the_batch():
    bridge, x = _bridge(ring_problem(3), diffusion_recipe()), 6 * points(2, 3, 4, 2)
    together = bridge.score(x, torch.arange(3)[:, None])
    for t in range(3):
        torch.testing.assert_close(together[:, t], bridge.score(x[:, t], torch.tensor(t)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ends_at_base", [False, True])
def test_a_method_gets_the_geometric_bridge_of_its_coordinates(ends_at_base):
    problem = InferenceProblem(3, (2,), lambda n, *key: torch.zeros(n, 2), target=TARGET, base=BASE)
    u = points(1, 6, 2)
    for coordinates in ("raw", "base"):
        recipe = SequentialRecipe(
            objective="lb", hidden=(4,), iterations=1, batch=2, learning_rate=1e-3,
            coordinates=coordinates, ends_at_base=ends_at_base,
        )  # fmt: skip
        bridge = _bridge(problem, recipe)
        x = u if coordinates == "raw" else BASE.mean + BASE.std * u
        scale = 1 if coordinates == "raw" else BASE.std
        for t, weight in enumerate(geometric_weights(3, ends_at_base)):
            wanted = scale * ((1 - weight) * BASE.score(x) + weight * TARGET.score(x))
            torch.testing.assert_close(bridge.score(u, torch.tensor(t)), wanted, rtol=1e-12, atol=1e-12)
