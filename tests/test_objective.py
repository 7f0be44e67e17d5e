"""The objective of one layer: Proposition 1, the Fisher divergence it equals, and where its gradient flows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hsivi.gaussian import DiagonalGaussian
from hsivi.objective import ScoreMatching
from tests.oracles import Gaussian, assert_mean, mixture

pytestmark = pytest.mark.usefixtures("float64")
OBJECTIVE = ScoreMatching()

# A linear-Gaussian layer x = A z + b + S eps, z ~ N(m, C), and a Gaussian target; nothing is symmetric.
A, B, STD = torch.tensor([[0.8, 0.3], [-0.5, 1.1]]), torch.tensor([0.2, -0.7]), torch.tensor([0.4, 0.9])
A, B, STD = A.double(), B.double(), STD.double()
MIXING = Gaussian(torch.tensor([0.5, -0.2]).double(), torch.tensor([[1.0, 0.3], [0.3, 0.6]]).double())
MARGINAL = MIXING.layer(A, B, STD)
TARGET = Gaussian(torch.tensor([-0.3, 0.4]).double(), torch.tensor([[0.9, -0.2], [-0.2, 1.4]]).double())


def draws(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    z = MIXING.mean + torch.randn(n, 2, generator=rng) @ torch.linalg.cholesky(MIXING.cov).mT
    return z, torch.randn(n, 2, generator=rng)


def layer(z: torch.Tensor) -> DiagonalGaussian:
    return DiagonalGaussian(z @ A.mT + B, STD)


def mixture_score(x: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(mixture(0.7).log_prob(x).sum(), x, create_graph=True)[0]


def tanh_critic(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(0.5 - 1.7 * x.flip(-1)) - 0.3 * x


@given(st.integers(0, 10_000))
def test_proposition_1_holds_pointwise(seed):
    """Eq. (4), 2 f^T [S - grad log q] - ||f||^2, at f = S - g is eq. (18)."""
    z, noise = draws(5, seed)
    x = layer(z).rsample(noise).requires_grad_(True)
    s, g = mixture_score(x), tanh_critic(x)
    f = s - g
    eq4 = (2 * f * (s - layer(z).score(x)) - f**2).sum(-1)
    loss = OBJECTIVE.variational_loss(
        DiagonalGaussian(layer(z).mean.requires_grad_(True), STD), noise, mixture_score, tanh_critic
    )
    assert loss.shape == (5,)
    torch.testing.assert_close(loss, eq4, rtol=1e-11, atol=1e-11)


def test_variational_loss_at_the_optimal_critic_is_the_fisher_divergence():
    z, noise = draws(200_000)
    loss = OBJECTIVE.variational_loss(layer(z), noise, TARGET.score, MARGINAL.score)
    assert_mean(loss, MARGINAL.fisher_divergence(TARGET), what="SIVI-SM objective")


def test_any_other_critic_gives_a_lower_bound():
    """The gap is E ||g - grad log q||^2, here of a constant error."""
    z, noise = draws(200_000)
    error = torch.tensor([0.7, -0.4])
    loss = OBJECTIVE.variational_loss(layer(z), noise, TARGET.score, lambda x: MARGINAL.score(x) + error)
    assert_mean(loss, MARGINAL.fisher_divergence(TARGET) - error.square().sum(), what="objective at a wrong critic")


def test_critic_loss_is_least_at_the_marginal_score():
    """Its gradient in an affine critic vanishes at the exact marginal score; per-sample gradients give the error."""
    n = 100_000
    z, noise = draws(n)
    conditional = layer(z)
    x = conditional.rsample(noise)
    precision = MARGINAL.cov.inverse()
    slope = (-precision).expand(n, 2, 2).clone().requires_grad_(True)
    offset = (precision @ MARGINAL.mean).expand(n, 2).clone().requires_grad_(True)
    critic = (slope @ x[..., None])[..., 0] + offset
    loss = OBJECTIVE.critic_loss(critic, conditional.score_at(noise))
    gradients = torch.autograd.grad(loss.sum(), (slope, offset))
    assert_mean(gradients[0], 0.0, what="gradient in the slope")
    assert_mean(gradients[1], 0.0, what="gradient in the offset")


def test_critic_loss_value():
    critic, conditional = torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([[0.0, 4.0], [0.0, 1.0]])
    assert torch.equal(OBJECTIVE.critic_loss(critic, conditional), torch.tensor([5.0, 4.0]))


def test_gradient_flows_through_target_and_critic_inputs():
    """Against finite differences of the Monte Carlo objective with common noise; detaching S or g fails this."""
    z, noise = draws(64)
    theta = torch.cat([A.flatten(), B, STD.log()])

    def objective(theta: torch.Tensor) -> torch.Tensor:
        a, b, std = theta[:4].reshape(2, 2), theta[4:6], theta[6:].exp()
        return OBJECTIVE.variational_loss(DiagonalGaussian(z @ a.mT + b, std), noise, mixture_score, tanh_critic).mean()

    live = theta.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(objective(live), live)
    step = 1e-5  # central differences: error step^2 f''' / 6 + 1e-16 |f| / step, both about 1e-9 here
    for i in range(len(theta)):
        shift = torch.zeros_like(theta)
        shift[i] = step
        high, low = ((theta + sign * shift).requires_grad_(True) for sign in (1, -1))
        difference = (objective(high) - objective(low)).detach() / (2 * step)
        torch.testing.assert_close(gradient[i], difference, rtol=1e-6, atol=1e-6)


def test_losses_keep_the_batch_and_sum_the_event():
    objective = ScoreMatching(event_ndim=3)
    rng = torch.Generator().manual_seed(0)
    mean, noise = torch.randn(2, 5, 1, 4, 4, generator=rng), torch.randn(2, 5, 1, 4, 4, generator=rng)
    images = DiagonalGaussian(mean, torch.full((1, 4, 4), 0.3))
    loss = objective.variational_loss(images, noise, lambda x: -x, torch.tanh)
    flat = ScoreMatching().variational_loss(
        DiagonalGaussian(mean.flatten(2), torch.full((16,), 0.3)), noise.flatten(2), lambda x: -x, torch.tanh
    )
    assert loss.shape == (2, 5)
    torch.testing.assert_close(loss, flat, rtol=1e-12, atol=1e-12)
