"""The diagonal Gaussian against torch.distributions and autograd."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Independent, Normal

from hsivi.gaussian import DiagonalGaussian

pytestmark = pytest.mark.usefixtures("float64")


def make(batch: tuple[int, ...], event: tuple[int, ...], seed: int = 0) -> tuple[DiagonalGaussian, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    mean = torch.randn(*batch, *event, generator=rng)
    std = torch.rand(*event, generator=rng) + 0.1  # broadcasts against the batch, as a layer's does
    return DiagonalGaussian(mean, std), torch.randn(*batch, *event, generator=rng)


@pytest.mark.parametrize(("batch", "event"), [((7,), (2,)), ((2, 3), (4,)), ((5,), (1, 3, 3)), ((), (2,))])
def test_log_density_and_score(batch, event):
    layer, noise = make(batch, event)
    x = layer.rsample(noise).requires_grad_(True)
    reference = Independent(Normal(layer.mean, layer.std.expand_as(layer.mean)), len(event)).log_prob(x)
    torch.testing.assert_close(layer.log_prob(x, len(event)), reference, rtol=1e-13, atol=1e-13)
    assert reference.shape == batch
    (score,) = torch.autograd.grad(reference.sum(), x)
    torch.testing.assert_close(layer.score(x), score, rtol=1e-12, atol=1e-12)


def test_sample_is_mean_plus_scaled_noise():
    layer, noise = make((6,), (2,))
    assert torch.equal(layer.rsample(noise), layer.mean + layer.std * noise)
    assert torch.equal(layer.rsample(torch.zeros_like(noise)), layer.mean)


@given(st.integers(0, 10_000))
def test_score_at_noise_is_the_score_of_the_sample(seed):
    layer, noise = make((4,), (3,), seed)
    # The score subtracts the mean again, which costs |mean| / std units in the last place.
    torch.testing.assert_close(layer.score_at(noise), layer.score(layer.rsample(noise)), rtol=0, atol=1e-12)


def test_score_at_noise_keeps_its_digits_when_the_layer_is_narrow():
    mean, noise = torch.full((1,), 1e8), torch.full((1,), 0.3)
    layer = DiagonalGaussian(mean, torch.full((1,), 1e-8))
    assert layer.score_at(noise) == -0.3 / 1e-8
    assert (layer.score(layer.rsample(noise)) + 0.3 / 1e-8).abs() > 1e6  # what subtracting the mean would give


def test_gradients_reach_mean_and_std():
    mean, std = torch.randn(3, 2, requires_grad=True), torch.ones(2, requires_grad=True)
    layer, noise = DiagonalGaussian(mean, std), torch.randn(3, 2)
    layer.rsample(noise).sum().backward()
    assert torch.equal(mean.grad, torch.ones(3, 2))
    torch.testing.assert_close(std.grad, noise.sum(0))
