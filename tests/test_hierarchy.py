"""The layers at initialisation are DDIM-eta: against the formula, diffusers, and exact moments on Gaussian data."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.schedulers import scheduling_ddpm
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hsivi.hierarchy import DDIMCoefficients, DDIMHierarchy
from hsivi.nn.stacked import NetworkAtTimes
from hsivi.noise import SampleNoise
from hsivi.schedule import LinearBetaSchedule, QuadraticSchedule
from hsivi.score_model import GaussianMixtureScoreModel, NetworkScoreModel
from hsivi.time_grid import time_grid
from tests.oracles import MEANS, VARIANCES, WEIGHTS, AffineNoise, NoisedGaussian, assert_mean, ddim_map, ddim_moments

pytestmark = pytest.mark.usefixtures("float64")
TOY, IMAGE = QuadraticSchedule(), LinearBetaSchedule()
DATA = NoisedGaussian(torch.tensor([0.6, -0.3]).double(), torch.tensor([0.2, 0.7]).double())


class Exact(nn.Module):
    """The asymmetric mixture's noise as a network; under the image schedule the network time is the level."""

    event_ndim = 1

    def forward(self, x, time):
        return GaussianMixtureScoreModel(IMAGE, MEANS, VARIANCES, WEIGHTS).noise(x, time)

    def at(self, times):
        return NetworkAtTimes(self, times)


def affine(schedule, levels, data: NoisedGaussian) -> NetworkScoreModel:
    gain, offset = data.noise_map(schedule.alpha_bar(levels))
    return NetworkScoreModel(AffineNoise(schedule.network_time(levels), gain[None], offset[None]), schedule)


def hierarchy(schedule, levels, eta, model=None) -> DDIMHierarchy:
    model = model or NetworkScoreModel(Exact(), schedule)
    return DDIMHierarchy(model, levels, eta, torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("steps", "numbers"),
    [
        (5, [0.00999, 0.16321, 0.28891, 0.42254, 0.61503]),
        (10, [0.00995, 0.08409, 0.13970, 0.18718, 0.23200, 0.27789, 0.32859, 0.38925, 0.46919, 0.59036]),
    ],
)
def test_standard_deviations_of_the_toy_layers(steps, numbers):
    levels = time_grid(TOY, "hsivi", steps)
    std = hierarchy(TOY, levels, 1.0).std
    torch.testing.assert_close(std, torch.tensor(numbers), rtol=0, atol=5.1e-6)  # five decimals of exact arithmetic


def test_standard_deviations_of_the_image_layers():
    levels = time_grid(IMAGE, "hsivi", 5)
    ratio = hierarchy(IMAGE, levels, 0.2).std / (1 - IMAGE.alpha_bar(levels[:-1])).sqrt()
    torch.testing.assert_close(ratio, torch.tensor([0.199, 0.193, 0.185, 0.190, 0.198]), rtol=0, atol=5.1e-4)


@given(st.floats(0.01, 1.0), st.integers(1, 12), st.booleans())
def test_coefficients_are_the_formula(eta, steps, image):
    schedule = IMAGE if image else TOY
    levels = time_grid(schedule, "hsivi", steps)
    alpha_bar = schedule.alpha_bar(levels)
    coefficients = DDIMCoefficients(schedule, levels, eta)
    for t in range(steps):
        one, zero = torch.ones(()), torch.zeros(())
        # eps = 0 leaves the factor of x_{t+1}; eps = 1 at x_{t+1} = 0 the factor of eps.
        x_scale, _, std = ddim_map(alpha_bar, t, eta, zero, zero)
        _, noise_scale, _ = ddim_map(alpha_bar, t, eta, zero, one)
        torch.testing.assert_close(coefficients.x_scale[t], x_scale, rtol=1e-12, atol=0)
        torch.testing.assert_close(coefficients.noise_scale[t], noise_scale, rtol=1e-9, atol=1e-13)
        torch.testing.assert_close(coefficients.std[t], std, rtol=1e-12, atol=0)


@pytest.mark.parametrize("grid", ["ddim_quad_floor", "hsivi"])
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_layers_are_the_ddim_scheduler(grid, eta):
    chain, x = run_hierarchy(grid, eta)
    levels, scheduler = respaced(DDIMScheduler, grid, set_alpha_to_one=True)
    for t, ours in chain:
        index = t if grid == "ddim_quad_floor" else t + 1  # scheduler step that starts at level t + 1
        eps = Exact()(x, levels[t + 1])
        x = scheduler.step(eps, index, x, eta=eta, variance_noise=noise()(t)).prev_sample
        torch.testing.assert_close(ours, x, rtol=1e-10, atol=1e-10)


def test_eta_one_is_the_ddpm_scheduler_with_posterior_variance(monkeypatch):
    chain, x = run_hierarchy("hsivi", 1.0)
    levels, scheduler = respaced(DDPMScheduler, "hsivi", variance_type="fixed_small")
    for t, ours in chain:
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, t=t, **__: noise()(t))
        x = scheduler.step(Exact()(x, levels[t + 1]), t + 1, x).prev_sample
        torch.testing.assert_close(ours, x, rtol=1e-10, atol=1e-10)


def noise():
    return lambda t: SampleNoise(0, 0, 50, (2,), torch.float64).step(t)[None]


def run_hierarchy(grid: str, eta: float):
    model = hierarchy(IMAGE, time_grid(IMAGE, grid, 5), eta)
    x = SampleNoise(0, 0, 50, (2,), torch.float64).prior()[None]
    return zip(reversed(range(5)), model.propagate(x, 5, 0, noise()), strict=True), x


def respaced(scheduler_class, grid: str, **options):
    """A scheduler whose training levels are our grid: diffusers has no custom time steps for DDIM."""
    levels = time_grid(IMAGE, grid, 5)
    kept = levels[1:] if grid == "ddim_quad_floor" else levels  # its last step always ends at clean data
    alpha_bar = IMAGE.alpha_bar(kept)
    betas = 1 - alpha_bar / torch.cat([torch.ones(1), alpha_bar[:-1]])
    scheduler = scheduler_class(len(kept), trained_betas=betas.tolist(), clip_sample=False, **options)
    torch.testing.assert_close(scheduler.alphas_cumprod.double(), alpha_bar, rtol=1e-5, atol=0)  # 1 - beta cancels
    scheduler.alphas_cumprod = alpha_bar  # the same table without its rounding to float32
    scheduler.one = torch.ones(())
    scheduler.set_timesteps(len(kept))
    return levels, scheduler


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_moments_on_gaussian_data(eta):
    n, levels = 40_000, time_grid(TOY, "hsivi", 4)
    gain, offset = DATA.noise_map(TOY.alpha_bar(levels))
    means, variances = ddim_moments(TOY.alpha_bar(levels), eta, gain, offset)
    source = SampleNoise(1, 0, n, (2,), torch.float64)
    model = hierarchy(TOY, levels, eta, affine(TOY, levels, DATA))
    with torch.no_grad():
        chain = model.propagate(source.prior()[None], 4, 0, lambda t: source.step(t)[None])
        for t, x in zip((3, 2, 1, 0), chain, strict=True):
            assert_mean(x[0], means[t], what=f"mean of x_{t}")
            assert_mean((x[0] - means[t]) ** 2, variances[t], what=f"variance of x_{t}")


def test_few_steps_underestimate_the_variance():
    """D.3's remark on DDPM, exactly: Var x_t = alpha_bar_{t+1} / alpha_bar_t + c_t^2 < 1 for N(0, 1) data."""
    standard = NoisedGaussian(torch.zeros(1), torch.ones(1))
    for steps in (1, 5, 10):
        levels = time_grid(TOY, "hsivi", steps)
        alpha_bar = TOY.alpha_bar(levels)
        _, variances = ddim_moments(alpha_bar, 1.0, *standard.noise_map(alpha_bar))
        layer = hierarchy(TOY, levels, 1.0, affine(TOY, levels, NoisedGaussian(torch.zeros(2), torch.ones(2))))
        slope = layer.conditional(torch.ones(1, 2), torch.tensor(steps - 1)).mean
        exact = alpha_bar[-1] / alpha_bar[-2] + layer.std[-1] ** 2
        torch.testing.assert_close(slope[0, 0] ** 2 + layer.std[-1] ** 2, exact, rtol=1e-12, atol=0)
        torch.testing.assert_close(variances[-2, 0], exact, rtol=1e-12, atol=0)
        assert (variances[:-1] < 1).all()


def test_log_variance_and_layer_index_broadcast():
    levels = time_grid(TOY, "hsivi", 3)
    gain, offset = DATA.noise_map(TOY.alpha_bar(levels))
    network = AffineNoise(TOY.network_time(levels), gain.expand(2, -1, -1), offset.expand(2, -1, -1))
    log_variance = torch.tensor([[0.2, -0.4], [1.0, 0.0]])
    model = DDIMHierarchy(NetworkScoreModel(network, TOY), levels, 0.7, log_variance)
    z = torch.randn(2, 3, 5, 2, generator=torch.Generator().manual_seed(0))
    together = model.conditional(z, torch.arange(3)[:, None])
    for t in range(3):
        slope, shift, std = ddim_map(TOY.alpha_bar(levels), t, 0.7, gain[t + 1], offset[t + 1])
        torch.testing.assert_close(together.mean[:, t], slope * z[:, t] + shift, rtol=1e-12, atol=1e-12)
        expected = std * torch.exp(log_variance / 2)[:, None].expand(2, 5, 2)
        torch.testing.assert_close(together.std.expand_as(z)[:, t], expected, rtol=1e-12, atol=0)
        one = model.conditional(z[:, t], torch.tensor(t))
        torch.testing.assert_close(one.mean, together.mean[:, t], rtol=1e-12, atol=1e-12)


def test_propagating_in_two_parts_is_propagating_once():
    model = hierarchy(IMAGE, time_grid(IMAGE, "hsivi", 5), 0.2)
    x = SampleNoise(0, 0, 50, (2,), torch.float64).prior()[None]
    whole = list(model.propagate(x, 5, 0, noise()))
    first = list(model.propagate(x, 5, 3, noise()))
    second = list(model.propagate(first[-1], 3, 0, noise()))
    assert all(torch.equal(a, b) for a, b in zip(whole, first + second, strict=True))


def test_a_selected_replica_samples_like_the_replica():
    levels = time_grid(TOY, "hsivi", 3)
    gain, offset = DATA.noise_map(TOY.alpha_bar(levels))
    scale, times = torch.tensor([1.0, 1.3])[:, None, None], TOY.network_time(levels)
    network = AffineNoise(times, scale * gain, scale * offset)
    stack = DDIMHierarchy(NetworkScoreModel(network, TOY), levels, 0.7, torch.tensor([[0.2, -0.4], [1.0, 0.0]]))
    one = hierarchy(TOY, levels, 0.7, affine(TOY, levels, DATA))
    x = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(0))
    together = list(stack.propagate(x, 3, 0, lambda t: x))
    for r, row in enumerate(x.split(1)):
        one.load_state_dict(stack.select(dict(stack.named_parameters()), r) | {"network.times": times})
        for ours, alone in zip(together, one.propagate(row, 3, 0, lambda t, row=row: row), strict=True):
            torch.testing.assert_close(alone[0], ours[r], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, -1.0])
def test_a_layer_without_noise_is_refused(eta):
    with pytest.raises(ValueError, match=f"eta: got {eta}, expected a positive number"):
        hierarchy(TOY, time_grid(TOY, "hsivi", 3), eta)
