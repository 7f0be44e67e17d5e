"""FastDPM against DDIM, diffusers and Gaussian data, where its chain is known in closed form."""

from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hsivi.config import ConfigError
from hsivi.noise import SampleNoise
from hsivi.problem import Problem
from hsivi.sampler import load_baseline, make_config
from hsivi.schedule import LinearBetaSchedule, QuadraticSchedule, Schedule
from hsivi.score_model import GaussianMixtureScoreModel, ScoreModel
from hsivi.time_grid import time_grid

IMAGE, TOY = LinearBetaSchedule(), QuadraticSchedule()
STEP = ("ddim_quad_floor", "linear_floor")
VAR = ("var_quadratic", "var_linear", "var_quadratic_uncapped", "var_linear_uncapped")
NUM = 100
levels_of = cache(time_grid)
KAPPAS = st.floats(0, 1)


def mixture(schedule: Schedule, *variances: float) -> GaussianMixtureScoreModel:
    means = torch.tensor([[0.5, -0.3], [-0.6, 0.4]], dtype=torch.float64)[: len(variances)]
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)[: len(variances)]
    return GaussianMixtureScoreModel(
        schedule, means, torch.tensor(variances, dtype=torch.float64), weights / weights.sum()
    )


def path(name: str, values: dict[str, Any], model: ScoreModel, grid: str, steps: int, noise: Any) -> list[Tensor]:
    """Return x_{T-1}, ..., x_0."""
    levels = levels_of(model.schedule, grid, steps)
    problem = Problem(steps, (2,), lambda n, *key: torch.zeros(n, 2), teacher=model, levels=levels)
    baseline = load_baseline(name)
    states = list(baseline.sample(problem, make_config(baseline, values, name), noise, {}))
    assert len(states) == problem.counter.count == steps
    return states


def normal(dtype: torch.dtype = torch.float64) -> SampleNoise:
    return SampleNoise(5, 0, NUM, (2,), dtype=dtype)


@settings(deadline=None, max_examples=20)
@given(
    KAPPAS, st.integers(2, 30), st.sampled_from([*((IMAGE, g) for g in (*STEP, *VAR, "hsivi")), (TOY, "var_linear")])
)
def test_kappa_is_the_eta_of_ddim(kappa: float, steps: int, where: tuple[Schedule, str]) -> None:
    """One-step variances and DDIM's coefficients are two derivations of one family of samplers."""
    schedule, grid = where
    model = mixture(schedule, 0.05, 0.1)
    fast = path("fastdpm", {"kappa": kappa}, model, grid, steps, normal())
    implicit = path("ddim", {"eta": kappa}, model, grid, steps, normal())
    torch.testing.assert_close(torch.stack(fast), torch.stack(implicit), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kappa", [0.0, 1.0])
@pytest.mark.parametrize("grid", STEP)
@pytest.mark.parametrize("steps", [5, 10, 50])
def test_step_is_ddim_or_ddpm(kappa: float, grid: str, steps: int) -> None:
    """STEP with DDIM-rev and with DDPM-rev; ddpm.py does not know of DDIM's coefficients."""
    model = mixture(IMAGE, 0.05, 0.1)
    fast = path("fastdpm", {"kappa": kappa}, model, grid, steps, normal())
    other = path("ddpm", {}, model, grid, steps, normal()) if kappa else path("ddim", {}, model, grid, steps, normal())
    torch.testing.assert_close(torch.stack(fast), torch.stack(other), rtol=1e-8, atol=1e-8)


def test_ddim_rev_is_the_default() -> None:
    model = mixture(IMAGE, 0.05, 0.1)
    default, ddim_rev = (path("fastdpm", values, model, "var_linear", 5, normal()) for values in ({}, {"kappa": 0.0}))
    assert torch.equal(default[-1], ddim_rev[-1])


@pytest.mark.parametrize("kappa", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("grid", [*VAR, *STEP])
@pytest.mark.parametrize("steps", [5, 20])
def test_diffusers(kappa: float, grid: str, steps: int) -> None:
    """Any grid is a full grid of respaced betas; the levels that VAR asks for are real-valued times."""
    model, levels = mixture(IMAGE, 0.05, 0.1), levels_of(IMAGE, grid, steps)
    alpha_bar = IMAGE.alpha_bar(levels)
    scheduler = DDIMScheduler(
        num_train_timesteps=steps,
        trained_betas=(1 - alpha_bar[1:] / alpha_bar[:-1]).numpy(),
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=0,
    )
    scheduler.set_timesteps(steps)
    noise = normal(torch.float32)
    x = noise.prior()
    for index in scheduler.timesteps:
        eps = model.noise(x, levels[index + 1])
        x = scheduler.step(eps, index, x, eta=kappa, variance_noise=noise.step(int(index))).prev_sample
    ours = path("fastdpm", {"kappa": kappa}, model, grid, steps, noise)[-1]
    torch.testing.assert_close(ours, x, rtol=2e-5, atol=2e-5)  # diffusers keeps its tables in float32


def response(model: ScoreModel, grid: str, steps: int, kappa: float) -> tuple[Tensor, Tensor]:
    """Return constant and linear part of a chain that is affine in its noises.

    Returns:
        Constants of x_{T-1}, ..., x_0, shape (T,), and coefficients of (x_T, z_{T-1}, ..., z_0), shape (T, T + 1).
    """
    probes = torch.eye(steps + 2, dtype=torch.float64)[:, :, None].expand(-1, -1, 2)  # the last row is no noise at all
    noise = SimpleNamespace(prior=lambda: probes[:, 0], step=lambda t: probes[:, steps - t])
    states = torch.stack(path("fastdpm", {"kappa": kappa}, model, grid, steps, noise))[..., 0]
    return states[:, -1], states[:, :-1] - states[:, -1:]


@pytest.mark.parametrize("grid", ["ddim_quad_floor", "var_quadratic", "hsivi"])
@pytest.mark.parametrize("steps", [2, 5, 10])
def test_ddpm_rev_on_gaussian_data(grid: str, steps: int) -> None:
    """The variances of DDPM-rev follow the law of total variance, less what the mean of x0 does not carry.

    If x_{t+1} had the right variance, x_t would have V_t - (weight of x0)^2 Var(x0 | x_{t+1}); an error in the variance
    of x_{t+1} is carried on by the squared slope of E[x_t | x_{t+1}], which is Cov(x_t, x_{t+1}) / V_{t+1}.
    """
    mean, variance = 0.5, 0.3
    levels = levels_of(IMAGE, grid, steps)
    signal = IMAGE.alpha_bar(levels).tolist()
    right = [a * variance + 1 - a for a in signal]
    v, m, expected = 1.0, 0.0, []
    for t in reversed(range(steps)):
        ratio = signal[t + 1] / signal[t]
        slope = ratio**0.5 * right[t] / right[t + 1]
        weight = signal[t] ** 0.5 * (1 - ratio) / (1 - signal[t + 1])
        missing = weight**2 * variance * (1 - signal[t + 1]) / right[t + 1]
        m = signal[t] ** 0.5 * mean + slope * (m - signal[t + 1] ** 0.5 * mean)
        v = right[t] - missing + slope**2 * (v - right[t + 1])
        expected.append((m, v))
    constant, linear = response(mixture(IMAGE, variance), grid, steps, 1.0)
    got = torch.stack([constant, linear.square().sum(1)], 1)
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=1e-8, atol=1e-10)


@settings(deadline=None, max_examples=20)
@given(KAPPAS, st.integers(2, 20), st.sampled_from([*STEP, *VAR, "hsivi"]))
def test_one_point_of_data(kappa: float, steps: int, grid: str) -> None:
    """With one point as data x0 is known, so every kappa keeps the marginals N(sqrt(alpha_bar) x0, sigma^2).

    Only the start differs: N(0, I) for N(sqrt(alpha_bar_T) x0, sigma_T^2), and that error decays with the share of
    the noise in x_T that is left, the product of sqrt(sigma_t^2 - kappa^2 v_t) / sigma_{t+1}.
    """
    levels = levels_of(IMAGE, grid, steps)
    signal, sigma = IMAGE.alpha_bar(levels), IMAGE.sigma(levels)
    fresh = kappa**2 * (1 - signal[1:] / signal[:-1]) * (sigma[:-1] / sigma[1:]).square()
    left = ((sigma[:-1].square() - fresh).clamp_min(0).sqrt() / sigma[1:]).flip(0).cumprod(0)
    constant, linear = response(mixture(IMAGE, 0.0), grid, steps, kappa)
    start = 1 - sigma[-1].square()
    variance = sigma[:-1].square().flip(0) + left.square() * start
    torch.testing.assert_close(linear.square().sum(1), variance, rtol=1e-8, atol=1e-10)
    mean = 0.5 * (signal[:-1].sqrt().flip(0) - left * signal[-1].sqrt())
    torch.testing.assert_close(constant, mean, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(linear[:, 0], left, rtol=1e-8, atol=1e-8)


class Recording(ScoreModel):
    """Returns zeros and keeps what it is asked."""

    event_ndim = 1

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.asked: list[float] = []

    def noise(self, x: Tensor, s: Tensor) -> Tensor:
        self.asked.append(s.item())
        return torch.zeros_like(x)


@pytest.mark.parametrize("grid", [*STEP, *VAR])
def test_the_noise_is_asked_for_at_the_levels_of_the_grid(grid: str) -> None:
    model = Recording(IMAGE)
    path("fastdpm", {}, model, grid, 10, normal())
    assert model.asked == levels_of(IMAGE, grid, 10)[1:].flip(0).tolist()
    whole = all(s == int(s) for s in model.asked)
    assert whole == (grid in STEP), "VAR asks at real-valued times"


@pytest.mark.parametrize("kappa", [0.0, 1.0])
def test_noise_is_drawn_where_it_is_used(kappa: float) -> None:
    drawn: list[int] = []

    def step(t: int) -> Tensor:
        drawn.append(t)
        return torch.ones(3, 2)

    noise = SimpleNamespace(prior=lambda: torch.ones(3, 2), step=step)
    path("fastdpm", {"kappa": kappa}, Recording(IMAGE), "var_linear", 4, noise)
    assert drawn == ([3, 2, 1, 0] if kappa else [])


@pytest.mark.parametrize("kappa", [-0.1, 1.01, float("nan"), "all"])
def test_a_share_that_is_none_is_one_line(kappa: Any) -> None:
    with pytest.raises(ConfigError, match=r"digits.yaml: fastdpm: kappa: got .*, expected: .*; correct") as caught:
        make_config(load_baseline("fastdpm"), {"kappa": kappa}, "digits.yaml: fastdpm")
    assert "\n" not in str(caught.value)
