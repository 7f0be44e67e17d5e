"""The objectives of one layer: Proposition 1 and eq. (4), the Fisher divergence; SIVI-LB and the ELBO; gradients."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Independent, MultivariateNormal, Normal

from hsivi.gaussian import DiagonalGaussian
from hsivi.hierarchy import IndependentHierarchy
from hsivi.objective import LowerBound, ScoreMatching, from_score, pairwise_log_density
from tests.oracles import Gaussian, assert_mean, gauss_hermite, gaussian_kl, mixture

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
        DiagonalGaussian(layer(z).mean.requires_grad_(True), STD), noise, lambda x: (mixture_score(x), tanh_critic(x))
    )
    assert loss.shape == (5,)
    torch.testing.assert_close(loss, eq4, rtol=1e-11, atol=1e-11)


def test_variational_loss_at_the_optimal_critic_is_the_fisher_divergence():
    z, noise = draws(200_000)
    loss = OBJECTIVE.variational_loss(layer(z), noise, lambda x: (TARGET.score(x), MARGINAL.score(x)))
    assert_mean(loss, MARGINAL.fisher_divergence(TARGET), what="SIVI-SM objective")


def test_any_other_critic_gives_a_lower_bound():
    """The gap is E ||g - grad log q||^2, here of a constant error."""
    z, noise = draws(200_000)
    error = torch.tensor([0.7, -0.4])
    loss = OBJECTIVE.variational_loss(layer(z), noise, lambda x: (TARGET.score(x), MARGINAL.score(x) + error))
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
        return OBJECTIVE.variational_loss(
            DiagonalGaussian(z @ a.mT + b, std), noise, lambda x: (mixture_score(x), tanh_critic(x))
        ).mean()

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
    loss = objective.variational_loss(images, noise, lambda x: (-x, torch.tanh(x)))
    flat = ScoreMatching().variational_loss(
        DiagonalGaussian(mean.flatten(2), torch.full((16,), 0.3)), noise.flatten(2), lambda x: (-x, torch.tanh(x))
    )
    assert loss.shape == (2, 5)
    torch.testing.assert_close(loss, flat, rtol=1e-12, atol=1e-12)


# ----------------------------------------------------------------------------------------------- SIVI-LB, eq. (2)
LOG_EVIDENCE = 0.7
ELBO = LOG_EVIDENCE - gaussian_kl(MARGINAL, TARGET)


def log_target(x: torch.Tensor) -> torch.Tensor:
    return LOG_EVIDENCE + MultivariateNormal(TARGET.mean, TARGET.cov).log_prob(x)


def lower_bounds(replicas: int, draws_each: int, batch: int, auxiliaries: int | None, seed: int = 0) -> torch.Tensor:
    """Means of the integrand over ``batch`` samples, one a replica: samples of a replica share auxiliaries."""
    z, noise = (values.reshape(replicas, draws_each, 2) for values in draws(replicas * draws_each, seed))
    conditional = DiagonalGaussian(layer(z).mean, STD.expand(replicas, 1, 2))
    return -LowerBound(auxiliaries).variational_loss(conditional, noise[:, :batch], log_target).mean(1)


def test_lower_bound_grows_with_the_number_of_auxiliaries_and_stays_below_the_elbo():
    """On common draws, so that differences are far more certain than values."""
    counts = (1, 2, 4, 16, 63)
    bounds = [lower_bounds(600, 64, 64, count) for count in counts]
    for (low, high), count in zip(pairwise(bounds), counts[1:], strict=True):
        gain = high - low
        assert gain.mean() > 5 * gain.std() / len(gain) ** 0.5, f"K = {count} is no better than the one before"
    for bound, count in zip(bounds, counts, strict=True):
        assert (ELBO - bound.mean()) > 5 * bound.std() / len(bound) ** 0.5, f"K = {count} is not below the ELBO"
    assert torch.equal(bounds[-1], lower_bounds(600, 64, 64, None)), "all others of the batch are the default"


def test_lower_bound_tends_to_the_elbo():
    """With log q for log p the ELBO is zero and what is left is the gap alone, which falls like 1 / K."""
    law, gaps = MultivariateNormal(MARGINAL.mean, MARGINAL.cov), {}
    for count, replicas in ((50, 600), (800, 60)):
        z, noise = (values.reshape(replicas, count + 1, 2) for values in draws(replicas * (count + 1), 1))
        conditional = DiagonalGaussian(layer(z).mean, STD.expand(replicas, 1, 2))
        gaps[count] = LowerBound().variational_loss(conditional, noise[:, :300], law.log_prob).mean(1)
    assert 0.04 < gaps[50].mean() < 0.08
    assert_mean(16 * gaps[800], gaps[50].mean(), what="16 times the gap at 16 times the auxiliaries")
    assert gaps[800].mean() < 0.006


def test_lower_bound_with_one_auxiliary_has_its_exact_mean():
    """In one dimension E log p(x) - log (q(x | z) + q(x | z')) / 2 is a three-dimensional Gauss-Hermite sum."""
    slope, std, n = 1.3, 0.6, 20_000
    target = Normal(torch.tensor(0.4), torch.tensor(0.8))
    nodes, weights = gauss_hermite(60, 3)
    z, other, noise = nodes.unbind(-1)
    x = slope * z + std * noise
    log_mixture = torch.logaddexp(*(Normal(slope * centre, std).log_prob(x) for centre in (z, other))) - math.log(2)
    exact = weights @ (target.log_prob(x) - log_mixture)
    rng = torch.Generator().manual_seed(3)
    centres, noise = torch.randn(n, 2, 1, generator=rng), torch.randn(n, 1, 1, generator=rng)
    conditional = DiagonalGaussian(slope * centres, torch.full((n, 1, 1), std))
    loss = LowerBound().variational_loss(conditional, noise, lambda x: target.log_prob(x).sum(-1))
    assert_mean(-loss[:, 0], exact, what="lower bound at K = 1")


def stack(replicas: int, draws_each: int, dim: int, seed: int = 0) -> DiagonalGaussian:
    rng = torch.Generator().manual_seed(seed)
    mean = torch.randn(replicas, draws_each, dim, generator=rng)
    return DiagonalGaussian(mean, 0.3 + torch.rand(replicas, 1, dim, generator=rng))


@pytest.mark.parametrize(
    ("draws_each", "batch", "auxiliaries"),
    [(5, 5, None), (5, 5, 1), (5, 5, 2), (5, 5, 4), (6, 3, None), (6, 3, 2), (6, 3, 4), (2, 2, None), (2, 1, 1)],
)
def test_log_mixture_is_the_explicit_double_loop(draws_each, batch, auxiliaries):
    """Draw i with the K draws that follow it cyclically, and exactly those."""
    count = draws_each - 1 if auxiliaries is None else auxiliaries
    conditional = stack(2, draws_each, 3)
    noise = torch.randn(2, batch, 3, generator=torch.Generator().manual_seed(1))
    x = conditional.mean[:, :batch] + conditional.std * noise
    expected = torch.empty(2, batch)
    for r in range(2):
        for i in range(batch):
            used = [(i + k) % draws_each for k in range(count + 1)]
            terms = [
                Independent(Normal(conditional.mean[r, j], conditional.std[r, 0]), 1).log_prob(x[r, i]) for j in used
            ]
            expected[r, i] = torch.stack(terms).exp().mean().log()
    objective = LowerBound(auxiliaries)
    torch.testing.assert_close(objective.log_mixture(conditional, x), expected, rtol=1e-11, atol=1e-11)
    loss = objective.variational_loss(conditional, noise, lambda x: (3 * x).sum(-1))
    torch.testing.assert_close(loss, expected - 3 * x.sum(-1), rtol=1e-11, atol=1e-11)


def test_too_few_mixing_draws_are_refused():
    conditional = stack(1, 4, 2)
    with pytest.raises(ValueError, match=r"SIVI-LB: got 4 mixing draws, expected at least K \+ 1 = 5; raise the batch"):
        LowerBound(4).log_mixture(conditional, conditional.mean)


@pytest.mark.parametrize("auxiliaries", [None, 2])
def test_gradient_of_the_mixture_reaches_auxiliaries(auxiliaries):
    """d / d m_j = sum_i w_ij (x_i - m_j) / s^2 and d / d s = sum_ij w_ij ((x_i - m_j)^2 / s^3 - 1 / s)."""
    made = stack(2, 5, 3)
    mean, std = made.mean.requires_grad_(True), made.std.requires_grad_(True)
    x = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(2))
    value = LowerBound(auxiliaries).log_mixture(DiagonalGaussian(mean, std), x)
    got = torch.autograd.grad(value.sum(), (mean, std))
    with torch.no_grad():
        offset = x[:, :, None] - mean[:, None]
        joint = Independent(Normal(mean[:, None], std[:, None]), 1).log_prob(x[:, :, None])
        if auxiliaries is not None:
            used = [[(j - i) % 5 <= auxiliaries for j in range(5)] for i in range(4)]
            joint[:, ~torch.tensor(used)] = -torch.inf
        weight = torch.softmax(joint, -1)[..., None]
        wanted_mean = (weight * offset / std[:, None] ** 2).sum(1)
        wanted_std = (weight * (offset**2 / std[:, None] ** 3 - 1 / std[:, None])).sum((1, 2))[:, None]
    torch.testing.assert_close(got[0], wanted_mean, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(got[1], wanted_std, rtol=1e-11, atol=1e-11)


def test_gradient_of_the_lower_bound_is_that_of_the_objective():
    """Central differences with common noise: through x in the mixture and the target, and through every component."""
    z, noise = (values.reshape(2, 16, 2) for values in draws(32))
    theta = torch.cat([A.flatten(), B, STD.log()])

    def objective(theta: torch.Tensor) -> torch.Tensor:
        a, b, std = theta[:4].reshape(2, 2), theta[4:6], theta[6:].exp()
        conditional = DiagonalGaussian(z @ a.mT + b, std.expand(2, 1, 2))
        return LowerBound(5).variational_loss(conditional, noise[:, :9], mixture(0.7).log_prob).mean()

    live = theta.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(objective(live), live)
    step = 1e-5  # as above
    for i in range(len(theta)):
        shift = torch.zeros_like(theta)
        shift[i] = step
        difference = (objective(theta + shift) - objective(theta - shift)) / (2 * step)
        torch.testing.assert_close(gradient[i], difference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("residual", [True, False])
def test_the_score_alone_gives_the_gradient_of_the_density(residual):
    """Eq. (7), in every parameter of a layer with a network."""
    hierarchy = IndependentHierarchy((3, 4), 2, (5,), [residual], 0.3).double()
    z, noise = (values.reshape(2, 8, 2) for values in draws(16))

    def gradients(log_density) -> list[torch.Tensor]:
        loss = LowerBound().variational_loss(hierarchy.conditional(z, 0), noise, log_density)
        return list(torch.autograd.grad(loss.mean(1).sum(), list(hierarchy.parameters())))

    for ours, exact in zip(gradients(from_score(TARGET.score)), gradients(log_target), strict=True):
        assert exact.abs().max() > 1e-3
        torch.testing.assert_close(ours, exact, rtol=1e-10, atol=1e-12)


def test_no_gradient_reaches_the_inside_of_a_score():
    x, factor = torch.randn(4, 2, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    asked = []
    from_score(lambda x: asked.append(x) or -factor * x)(x).sum().backward()
    torch.testing.assert_close(x.grad, -2 * x.detach(), rtol=0, atol=0)
    assert factor.grad is None
    assert not asked[0].requires_grad


def test_pairwise_log_densities_are_accurate_in_single_precision():
    """300 dimensions, 100 standard deviations from the origin: squares about a common centre cancel few digits.

    A squared distance of a few thousand carries float32's 1.2e-7 of it; without the centre it would be of 3e6.
    """
    rng = torch.Generator().manual_seed(0)
    std = 0.5 + 0.5 * torch.rand(2, 1, 300, generator=rng, dtype=torch.float32)
    mean = 100 + torch.randn(2, 20, 300, generator=rng, dtype=torch.float32)
    x = mean[:, :7] + std * torch.randn(2, 7, 300, generator=rng, dtype=torch.float32)
    got = pairwise_log_density(DiagonalGaussian(mean, std), x)
    assert got.dtype == torch.float32
    wide = [values.double() for values in (mean, std, x)]
    exact = Independent(Normal(wide[0][:, None], wide[1][:, None]), 1).log_prob(wide[2][:, :, None])
    torch.testing.assert_close(got.double(), exact, rtol=0, atol=2e-3)


# ------------------------------------------------------------------------------------------------ SIVI-SM with f itself
def test_a_critic_that_is_f_gives_equation_4_literally():
    """Value, gradient in the layer, and (with the sign of a maximisation) gradient in f."""
    z, noise = draws(16)
    mean, std = layer(z).mean.requires_grad_(True), STD.clone().requires_grad_(True)
    scale = torch.tensor(0.8, requires_grad=True)
    conditional = DiagonalGaussian(mean, std)

    def f(x: torch.Tensor) -> torch.Tensor:
        return scale * tanh_critic(x)

    def g(x: torch.Tensor) -> torch.Tensor:
        return mixture_score(x) - f(x)

    def eq4(x: torch.Tensor, conditional_score: torch.Tensor) -> torch.Tensor:
        return (2 * f(x) * (mixture_score(x) - conditional_score) - f(x) ** 2).sum(-1)

    loss = OBJECTIVE.variational_loss(conditional, noise, lambda x: (mixture_score(x), g(x)))
    exact = eq4(mean + std * noise, -noise / std)
    torch.testing.assert_close(loss, exact, rtol=1e-11, atol=1e-11)
    pairs = (torch.autograd.grad(values.sum(), (mean, std), retain_graph=True) for values in (loss, exact))
    for ours, wanted in zip(*pairs, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-10, atol=1e-10)
    x, conditional_score = (mean + std * noise).detach().requires_grad_(True), (-noise / std).detach()
    critic = torch.autograd.grad(OBJECTIVE.critic_loss(g(x), conditional_score).sum(), scale)[0]
    wanted = torch.autograd.grad(eq4(x, conditional_score).sum(), scale)[0]
    torch.testing.assert_close(critic, -wanted, rtol=1e-11, atol=1e-11)
