"""The reported lower bound on the evidence, on hierarchies whose law is exactly Gaussian."""

import math

import pytest
import torch
from torch.distributions import Normal

from hsivi import evidence
from hsivi.evidence import lower_bound
from hsivi.hierarchy import IndependentHierarchy
from hsivi.noise import SampleNoise
from tests.oracles import Gaussian, GaussianTarget, assert_mean, gauss_hermite, gaussian_kl

pytestmark = pytest.mark.usefixtures("float64")
TARGET = GaussianTarget(
    torch.tensor([0.3, -0.5]).double(), torch.tensor([[1.9, 0.3], [0.3, 2.4]]).double(), log_evidence=-2.0
)


def affine(shifts: torch.Tensor, log_variances: torch.Tensor, residual: list[bool] | None = None):
    """Layers x_t = [x_{t+1}] + shift_t + exp(log_variance_t / 2) eps: networks of zeros but for the last bias."""
    layers, dim = shifts.shape
    hierarchy = IndependentHierarchy((0,), dim, (4,), residual or [True] * layers, 0.0).double()
    with torch.no_grad():
        for t in range(layers):
            for parameter in hierarchy.networks[t].parameters():
                parameter.zero_()
            hierarchy.networks[t].maps[-1].bias[0, 0] = shifts[t]
            hierarchy.log_variances[t][0] = log_variances[t]
    return hierarchy


SHIFTS = torch.tensor([[0.3, -0.1], [-0.5, 0.2], [0.4, 0.7]]).double()
LOG_VARIANCES = torch.tensor([[-0.6, 0.3], [-0.2, -1.0], [-1.3, 0.1]]).double()


def law(layers: int) -> Gaussian:
    return Gaussian(SHIFTS[:layers].sum(0), torch.diag(1 + LOG_VARIANCES[:layers].exp().sum(0)))


@torch.no_grad()
def bounds(hierarchy, target, n: int, seeds: int) -> torch.Tensor:
    """One mean a seed: the samples of a seed share their auxiliaries."""
    (dim,) = target.event_shape
    means = []
    for seed in range(seeds):
        (values,) = lower_bound(hierarchy, target, SampleNoise(seed, 0, n, (dim,), torch.float64)).values()
        means.append(values.mean())
    return torch.stack(means)


def test_it_carries_its_number_of_auxiliaries_in_its_name(monkeypatch):
    hierarchy, noise = affine(SHIFTS, LOG_VARIANCES), SampleNoise(0, 0, 12, (2,), torch.float64)
    assert {name: values.shape for name, values in lower_bound(hierarchy, TARGET, noise).items()} == {
        "elbo_k1000": (12,)
    }
    monkeypatch.setattr(evidence, "AUXILIARIES", 7)
    assert list(lower_bound(hierarchy, TARGET, noise)) == ["elbo_k7"]


@pytest.mark.parametrize("layers", [1, 3])
def test_it_is_the_elbo_but_for_its_number_of_auxiliaries(layers):
    """The exact integrand log p(x) - log q(x) at the same samples takes most of the noise out."""
    hierarchy = affine(SHIFTS[:layers], LOG_VARIANCES[:layers])
    exact = TARGET.log_evidence - gaussian_kl(law(layers), TARGET)
    assert exact < TARGET.log_evidence - 0.05
    assert_mean(bounds(hierarchy, TARGET, 200, 40), exact - 0.002, what="lower bound")
    own = GaussianTarget(law(layers).mean, law(layers).cov)  # its ELBO is zero, what is left is the gap
    gaps = -bounds(hierarchy, own, 200, 40)
    assert gaps.mean() > 0, "the bound is above the evidence"
    assert gaps.mean() < 0.005


def test_it_grows_with_the_number_of_auxiliaries(monkeypatch):
    hierarchy, own = affine(SHIFTS, LOG_VARIANCES), GaussianTarget(law(3).mean, law(3).cov)
    found = []
    for count in (1, 10, 100):
        monkeypatch.setattr(evidence, "AUXILIARIES", count)
        found.append(bounds(hierarchy, own, 100, 60))
    for low, high in ((found[0], found[1]), (found[1], found[2])):
        assert (high - low).mean() > 5 * (high - low).std() / 60**0.5
    assert found[2].mean() < 0


def test_with_one_auxiliary_it_has_its_exact_mean(monkeypatch):
    """One dimension: E log p(x) - log (q(x | z) + q(x | z')) / 2 is a three-dimensional Gauss-Hermite sum.

    Auxiliaries that are not independent of the samples, or a wrong count in the mean of K + 1, show.
    """
    monkeypatch.setattr(evidence, "AUXILIARIES", 1)
    std, shift = 0.7, 0.3
    target = GaussianTarget(torch.tensor([0.4]), torch.tensor([[0.8]]), 0.5)
    hierarchy = affine(torch.tensor([[shift]]), torch.tensor([[2 * math.log(std)]]))
    nodes, weights = gauss_hermite(50, 3)
    z, other, noise = nodes.unbind(-1)
    x = z + shift + std * noise
    mixture = torch.logaddexp(*(Normal(centre + shift, std).log_prob(x) for centre in (z, other))) - math.log(2)
    exact = weights @ (target.log_prob(x[:, None]) - mixture)
    assert_mean(bounds(hierarchy, target, 40, 600), exact, what="bound at K = 1")


def test_a_layer_that_forgets_its_input_gives_the_exact_integrand():
    """Then all components are equal, whatever K: log p(x) - log q(x) to machine precision."""
    hierarchy = affine(SHIFTS, LOG_VARIANCES, [False, True, True])
    noise = SampleNoise(3, 5, 40, (2,), torch.float64)
    values = lower_bound(hierarchy, TARGET, noise)["elbo_k1000"]
    x = SHIFTS[0] + (LOG_VARIANCES[0] / 2).exp() * noise.step(0)
    log_q = Normal(SHIFTS[0], (LOG_VARIANCES[0] / 2).exp()).log_prob(x).sum(-1)
    torch.testing.assert_close(values, TARGET.log_prob(x) - log_q, rtol=1e-11, atol=1e-11)


def test_its_samples_are_those_of_the_hierarchy():
    """Same noise, same x_0: the target sees exactly what sampling yields."""
    hierarchy, seen = IndependentHierarchy((0,), 2, (4,), [True, False, True], -0.4).double(), []

    class Spy(GaussianTarget):
        def log_prob(self, x):
            seen.append(x)
            return super().log_prob(x)

    noise = SampleNoise(3, 5, 40, (2,), torch.float64)
    lower_bound(hierarchy, Spy(TARGET.mean, TARGET.cov), noise)
    *_, x = hierarchy.propagate(noise.prior()[None], 3, 0, lambda t: noise.step(t)[None])
    torch.testing.assert_close(seen[0], x, rtol=0, atol=0)


def test_auxiliaries_pass_the_layers_above_and_no_more():
    """Written out for a hierarchy with networks: the components are q_0(x_0 | x_1^(k)) at independent x_1."""
    hierarchy = IndependentHierarchy((0,), 2, (4,), [True, False, True], -0.4).double()
    noise, asked = SampleNoise(3, 0, 30, (2,), torch.float64), []
    conditional = hierarchy.conditional
    hierarchy.conditional = lambda z, t: asked.append((z, t)) or conditional(z, t)
    values = lower_bound(hierarchy, TARGET, noise)["elbo_k1000"]
    own, others = (z for z, t in asked if t == 0)
    if len(own[0]) == 1_000:
        own, others = others, own
    assert [z.shape for z in (own, others)] == [(1, 30, 2), (1, 1_000, 2)]
    x = conditional(own, 0).rsample(noise.step(0)[None])
    components = torch.cat([own[:, :, None], others[:, None].expand(1, 30, -1, 2)], 2)  # each sample's own comes first
    layer = conditional(components.flatten(1, 2), 0)
    log_q = Normal(layer.mean.reshape(1, 30, -1, 2), layer.std[:, None]).log_prob(x[:, :, None]).sum(-1)
    expected = TARGET.log_prob(x) - log_q.logsumexp(-1) + math.log(1_001)
    torch.testing.assert_close(values, expected[0], rtol=1e-11, atol=1e-11)
    *_, above = hierarchy.propagate(noise.prior()[None], 3, 1, lambda t: noise.step(t)[None])
    assert torch.equal(own, above)
    # Further draws of x_1, not those of the samples: 5 s.e. of a mean of 1000 against the mean of 1e5 others
    many = SampleNoise(77, 0, 100_000, (2,), torch.float64)
    *_, reference = hierarchy.propagate(many.prior()[None], 3, 1, lambda t: many.step(t)[None])
    assert_mean(others[0], reference[0].mean(0), what="mean of the auxiliaries")
    second = reference[0].var(0) + reference[0].mean(0) ** 2
    assert_mean(others[0] ** 2, second, what="second moment of the auxiliaries")
    assert not (others[0, :, :1] == own[0, :, 0]).any()


def test_it_does_not_depend_on_the_batch():
    hierarchy = affine(SHIFTS, LOG_VARIANCES)
    whole = lower_bound(hierarchy, TARGET, SampleNoise(3, 0, 40, (2,), torch.float64))["elbo_k1000"]
    parts = [
        lower_bound(hierarchy, TARGET, SampleNoise(3, *window, (2,), torch.float64))["elbo_k1000"]
        for window in ((0, 7), (7, 40))
    ]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-12, atol=1e-12)
    other = lower_bound(hierarchy, TARGET, SampleNoise(4, 0, 40, (2,), torch.float64))["elbo_k1000"]
    assert not torch.allclose(other, whole)


def test_it_keeps_single_precision():
    hierarchy = affine(SHIFTS, LOG_VARIANCES)
    wide = lower_bound(hierarchy, TARGET, SampleNoise(3, 0, 40, (2,), torch.float64))["elbo_k1000"]
    narrow = lower_bound(hierarchy.float(), TARGET, SampleNoise(3, 0, 40, (2,)))["elbo_k1000"]
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.double(), wide, rtol=0, atol=1e-4)
